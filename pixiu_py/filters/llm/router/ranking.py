"""The figures that models are ranked by, and the ranking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pixiu_py.filters.llm.router.prices import Prices
from pixiu_py.filters.llm.router.rank import price, ranked

if TYPE_CHECKING:
    from pixiu_py.filters.base import Context
    from pixiu_py.filters.llm.router.model import RouterConfig


class Ranking:
    """Puts the models of a route in order."""

    def __init__(self, config: RouterConfig, context: Context) -> None:
        self.prices = Prices()
        self._config = config
        self._context = context

    async def start(self) -> None:
        """Get the figures, and begin to keep them fresh."""

    async def close(self) -> None:
        """Keep nothing fresh any more."""

    def order(self, models: Sequence[str], prefer: str) -> tuple[str, ...]:
        """``models`` as a policy has them: cheapest, fastest or none."""
        if prefer == "cheapest":
            return ranked(models, lambda model: price(self.prices.of(model)))
        return tuple(models)
