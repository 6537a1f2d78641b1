"""The ways of keeping a conversation on its model, by the name of their mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixiu_py.errors import StartError

if TYPE_CHECKING:
    from pixiu_py.filters.base import Context
    from pixiu_py.filters.llm.router.affinity import Affinity
    from pixiu_py.filters.llm.router.model import Routing
    from pixiu_py.filters.llm.router.prices import Prices


def build_affinity(config: Routing, context: Context, prices: Prices) -> Affinity:
    """What ``config`` asks for. Raises ``StartError``."""
    raise StartError(f"session_mode {config.session_mode!r} is not there yet")
