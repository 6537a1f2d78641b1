"""The counter that a configuration asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pixiu_py.filters.llm.promptcache.count import Estimate, FileCounter, TokenCounter
from pixiu_py.filters.llm.promptcache.engine import EngineCounter
from pixiu_py.filters.llm.promptcache.service import ServiceCounter

if TYPE_CHECKING:
    from pixiu_py.filters.llm.promptcache.config import TokenizerConfig
    from pixiu_py.filters.llm.promptcache.meters import Meters


def make_counter(config: TokenizerConfig, clock: Callable[[], float], meters: Meters) -> TokenCounter:
    """The counter, not yet started."""
    if config.type == "service":
        lookups = meters.versions
        return ServiceCounter(config.url, config.timeout, clock, lambda result: lookups.inc((result,)))
    if config.type == "endpoint":
        return EngineCounter(config.url, config.timeout)
    if config.type == "file":
        return FileCounter(config.path)
    return Estimate()
