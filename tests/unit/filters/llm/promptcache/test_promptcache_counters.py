"""Each type of tokenizer gives its counter."""

from __future__ import annotations

import pytest

from pixiu_py.filters.llm.promptcache.config import TokenizerConfig
from pixiu_py.filters.llm.promptcache.count import Estimate, FileCounter
from pixiu_py.filters.llm.promptcache.counters import make_counter
from pixiu_py.filters.llm.promptcache.engine import EngineCounter
from pixiu_py.filters.llm.promptcache.meters import Meters
from pixiu_py.filters.llm.promptcache.service import ServiceCounter
from pixiu_py.observability.metrics import Metrics


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (TokenizerConfig(), Estimate),
        (TokenizerConfig(type="endpoint"), EngineCounter),
        (TokenizerConfig(type="file", path="x"), FileCounter),
        (TokenizerConfig(type="service", url="http://x"), ServiceCounter),
    ],
)
def test_the_counter_of_a_type(config: TokenizerConfig, expected: type) -> None:
    assert type(make_counter(config, lambda: 0.0, Meters(Metrics()))) is expected
