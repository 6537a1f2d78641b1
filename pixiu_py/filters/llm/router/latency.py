"""How long models take to answer, by this gateway's own traffic: an average in which older answers count less. Pure."""

from __future__ import annotations

from collections import OrderedDict

#: Combinations of model and endpoint that are remembered; of more, the one that answered longest ago is dropped.
MOST = 4096
#: An answer that counts less than this is forgotten, and a model without others is unknown again.
_FORGOTTEN = 1e-4


class Latencies:
    """Seconds until an answer begins, per model and endpoint. ``half_life``: seconds in which an answer's weight halves."""

    def __init__(self, half_life: float, most: int = MOST) -> None:
        self._half_life = half_life
        self._most = most
        #: (model, endpoint id) → (sum of weighted seconds, sum of weights, time of both); the latest last.
        self._cells: OrderedDict[tuple[str, str], tuple[float, float, float]] = OrderedDict()
        self._endpoints: dict[str, set[str]] = {}

    def observe(self, model: str, endpoint: str, seconds: float, now: float) -> None:
        """One good answer."""
        key = (model, endpoint)
        total, weight, _ = self._decayed(key, now)
        self._cells[key] = (total + seconds, weight + 1.0, now)
        self._cells.move_to_end(key)
        self._endpoints.setdefault(model, set()).add(endpoint)
        if len(self._cells) > self._most:
            self._drop(next(iter(self._cells)))

    def of(self, model: str, now: float) -> float | None:
        """The average over the endpoints of a model, those that answered more and lately counting more; None: unknown."""
        total = weight = 0.0
        for endpoint in self._endpoints.get(model, ()):
            cell = self._decayed((model, endpoint), now)
            total += cell[0]
            weight += cell[1]
        return total / weight if weight > _FORGOTTEN else None

    def _decayed(self, key: tuple[str, str], now: float) -> tuple[float, float, float]:
        cell = self._cells.get(key)
        if cell is None:
            return 0.0, 0.0, now
        total, weight, then = cell
        factor = 0.5 ** (max(now - then, 0.0) / self._half_life)
        return total * factor, weight * factor, now

    def _drop(self, key: tuple[str, str]) -> None:
        del self._cells[key]
        model, endpoint = key
        endpoints = self._endpoints[model]
        endpoints.discard(endpoint)
        if not endpoints:
            del self._endpoints[model]
