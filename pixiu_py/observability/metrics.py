"""Counters, histograms and readings of one gateway, and their text for Prometheus.

Bumping one costs a dictionary look-up and an addition. Each metric keeps at most ``max_series`` combinations of label
values; what comes above that, or has a very long value, is counted together, in a series whose labels all read
``overflow``, so that labels taken from requests cannot fill the memory. A reading keeps nothing: it asks when the text is made.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, TypeVar

#: Content type of ``Metrics.render()``.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OVERFLOW = "overflow"
DEFAULT_MAX_SERIES = 1000
#: Characters of a label value; one that is longer is counted as overflow.
LONGEST_LABEL = 1024
#: Upper bounds in seconds: from a cached reply to a long generation.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)

Labels = tuple[str, ...]
#: Tells label values and what they have now.
Reader = Callable[[], Iterable[tuple[Labels, float]]]


class Counter:
    """A sum per combination of label values that only grows."""

    type = "counter"

    def __init__(self, name: str, help_: str, labels: Labels, max_series: int = DEFAULT_MAX_SERIES) -> None:
        self.name = name
        self.help = help_
        self.labels = labels
        self._max_series = max_series
        self._overflow = (OVERFLOW,) * len(labels)
        self.series: dict[Labels, float] = {}

    def inc(self, values: Labels = (), amount: float = 1) -> None:
        """Add ``amount`` to the series with these label values, given in the order of ``labels``."""
        series = self.series
        try:
            series[values] += amount
        except KeyError:
            if len(series) >= self._max_series or _too_long(values):
                values = self._overflow
            series[values] = series.get(values, 0) + amount

    def lines(self) -> Iterator[str]:
        """The samples, without the head."""
        for values, total in self.series.items():
            yield f"{self.name}{_labels(self.labels, values)} {_number(total)}"


class Histogram:
    """How values are spread, per combination of label values. ``bounds`` are the upper limits of the buckets."""

    type = "histogram"

    def __init__(
        self,
        name: str,
        help_: str,
        labels: Labels,
        bounds: Sequence[float] = SECONDS,
        max_series: int = DEFAULT_MAX_SERIES,
    ) -> None:
        self.name = name
        self.help = help_
        self.labels = labels
        self.bounds = tuple(bounds)
        self._max_series = max_series
        self._overflow = (OVERFLOW,) * len(labels)
        #: Label values → observations per bucket, the last one without limit; then their sum.
        self.series: dict[Labels, list[float]] = {}

    def observe(self, value: float, values: Labels = ()) -> None:
        """Count ``value`` in the series with these label values."""
        series = self.series
        if values not in series:
            if len(series) >= self._max_series or _too_long(values):
                values = self._overflow
            series.setdefault(values, [0] * (len(self.bounds) + 2))
        cells = series[values]
        cells[bisect_left(self.bounds, value)] += 1
        cells[-1] += value

    def lines(self) -> Iterator[str]:
        """The samples, without the head. Buckets are cumulative, as Prometheus has them."""
        bounds = [*(_number(bound) for bound in self.bounds), "+Inf"]
        for values, (*cells, total) in self.series.items():
            count = 0.0
            for bound, cell in zip(bounds, cells, strict=True):
                count += cell
                yield f"{self.name}_bucket{_labels((*self.labels, 'le'), (*values, bound))} {_number(count)}"
            labels = _labels(self.labels, values)
            yield f"{self.name}_sum{labels} {_number(total)}"
            yield f"{self.name}_count{labels} {_number(count)}"


class Reading:
    """What others know anyway, asked for when the text is made. Several readers of the same series are added up."""

    def __init__(self, name: str, help_: str, labels: Labels, type_: str) -> None:
        self.name = name
        self.help = help_
        self.labels = labels
        self.type = type_
        self._readers: list[Reader] = []

    def add(self, reader: Reader) -> None:
        """Ask ``reader``, too, from now on."""
        self._readers.append(reader)

    def drop(self, reader: Reader) -> None:
        """Ask it no more; it need not be known."""
        if reader in self._readers:
            self._readers.remove(reader)

    def lines(self) -> Iterator[str]:
        """The samples, without the head."""
        series: dict[Labels, float] = {}
        for reader in self._readers:
            for values, value in reader():
                series[values] = series.get(values, 0) + value
        for values, value in series.items():
            yield f"{self.name}{_labels(self.labels, values)} {_number(value)}"


M = TypeVar("M", Counter, Histogram, Reading)


class Metrics:
    """The metrics of one gateway, by name. Asking twice for the same one gives the same object."""

    def __init__(self, max_series: int = DEFAULT_MAX_SERIES) -> None:
        self._max_series = max_series
        self._metrics: dict[str, Counter | Histogram | Reading] = {}

    def counter(self, name: str, help_: str, labels: Labels = ()) -> Counter:
        """The counter of that name. Raises ``ValueError`` when the name is taken by something else."""
        return self._known(Counter(name, help_, labels, self._max_series))

    def histogram(self, name: str, help_: str, labels: Labels = (), bounds: Sequence[float] = SECONDS) -> Histogram:
        """The histogram of that name. Raises ``ValueError`` when the name is taken by something else."""
        return self._known(Histogram(name, help_, labels, bounds, self._max_series))

    def reading(
        self, name: str, help_: str, labels: Labels = (), type_: Literal["gauge", "counter"] = "gauge"
    ) -> Reading:
        """The reading of that name. Raises ``ValueError`` when the name is taken by something else."""
        return self._known(Reading(name, help_, labels, type_))

    def _known(self, metric: M) -> M:
        known = self._metrics.setdefault(metric.name, metric)
        if not isinstance(known, type(metric)) or (known.type, known.labels) != (metric.type, metric.labels):
            raise ValueError(f"metric {metric.name} is there already, with another type or other labels")
        return known

    def render(self) -> bytes:
        """Everything in Prometheus's text format."""
        parts = []
        for metric in self._metrics.values():
            parts.append(f"# HELP {metric.name} {_escape(metric.help)}\n# TYPE {metric.name} {metric.type}\n")
            parts.extend(f"{line}\n" for line in metric.lines())
        return "".join(parts).encode("utf-8", "replace")


def _too_long(values: Labels) -> bool:
    """Whether these values are not worth their memory."""
    return any(len(value) > LONGEST_LABEL for value in values)


def _labels(names: Labels, values: Labels) -> str:
    if not names:
        return ""
    pairs = (f'{name}="{_escape(value, quotes=True)}"' for name, value in zip(names, values, strict=True))
    return "{" + ",".join(pairs) + "}"


def _escape(text: str, *, quotes: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
