"""The figures that models are ranked by, and the ranking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pixiu_py.filters.llm.router.figures import read_catalogue, read_vector
from pixiu_py.filters.llm.router.latency import Latencies
from pixiu_py.filters.llm.router.prices import Prices, Rates
from pixiu_py.filters.llm.router.rank import price, ranked
from pixiu_py.filters.llm.router.source import Source

if TYPE_CHECKING:
    from pixiu_py.filters.base import Context
    from pixiu_py.filters.llm.router.model import MetricsSource, RouterConfig
    from pixiu_py.http.exchange import Attempt

_HALF_LIFE = 300.0


class Ranking:
    """Puts the models of a route in order."""

    def __init__(self, config: RouterConfig, context: Context) -> None:
        self._clock = context.clock
        self.prices = Prices()
        #: What Prometheus said; None: nobody asks it.
        self._said: dict[str, float] | None = None
        self._own: Latencies | None = None
        self._sources: list[Source] = []
        for source in config.model_metrics_sources:
            self._add(source, context)
        told = any(source.type == "latency" for source in config.model_metrics_sources)
        if not told and any(route.prefer == "fastest" for route in config.routing_preferences):
            self._own = Latencies(_HALF_LIFE)
        #: True when the answers to requests are to be told to ``observe``.
        self.observes = self._own is not None

    def _add(self, source: MetricsSource, context: Context) -> None:
        if source.provider == "static":
            rates = {name: Rates(price.input, price.output, price.cache_read) for name, price in source.prices.items()}
            self.prices.replace(rates)
        elif source.provider == "traffic":
            self._own = Latencies(source.half_life)
        elif source.provider == "prometheus":
            self._said = {}
            self._sources.append(Source(source, context, lambda body: self._hear(body, source)))
        else:
            self._sources.append(
                Source(source, context, lambda body: self.prices.replace(read_catalogue(body, source.model_aliases)))
            )

    def _hear(self, body: bytes, source: MetricsSource) -> None:
        self._said = read_vector(body, source.model_aliases)

    async def start(self) -> None:
        """Get the figures, and begin to keep them fresh. Raises ``StartError`` for a catalogue on disk that is none."""
        for source in self._sources:
            await source.start()

    async def close(self) -> None:
        """Keep nothing fresh any more."""
        for source in self._sources:
            await source.close()

    def order(self, models: Sequence[str], prefer: str) -> tuple[str, ...]:
        """``models`` as a policy has them: cheapest, fastest or none."""
        if prefer == "cheapest":
            return ranked(models, lambda model: price(self.prices.of(model)))
        if prefer == "fastest":
            return ranked(models, self._latency)
        return tuple(models)

    def observe(self, attempts: Sequence[Attempt]) -> None:
        """Learn from the attempts of one request how long its model took to begin to answer."""
        if self._own is None:
            return
        for attempt in attempts:
            if attempt.success and attempt.model and 0 < attempt.status < 300:
                self._own.observe(attempt.model, attempt.endpoint_id, attempt.seconds, self._clock())

    def _latency(self, model: str) -> float | None:
        if self._said is not None:
            return self._said.get(model)
        return self._own.of(model, self._clock()) if self._own is not None else None
