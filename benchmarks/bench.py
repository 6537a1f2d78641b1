"""One run of the benchmarks: its settings, its cores, and interleaved rounds."""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from benchmarks.client import chat_body
from benchmarks.conf import Spec
from benchmarks.proc import BenchError
from benchmarks.servers import Contender, Server, running, running_upstream

Values = dict[str, float]


@dataclass(frozen=True)
class Metric:
    """One number of a scenario."""

    key: str
    title: str
    unit: str
    better: Literal["lower", "higher", ""] = "lower"
    digits: int = 1


@dataclass
class Result:
    """What a scenario measured: contender → one set of values per round. ``failed``: contender → why it has none."""

    name: str
    title: str
    metrics: tuple[Metric, ...]
    rounds: dict[str, list[Values]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def record(self, contender: str, number: int, values: Values) -> None:
        """Add ``values`` to those of the round ``number``, counted from 0."""
        rounds = self.rounds.setdefault(contender, [])
        rounds += [{} for _ in range(number + 1 - len(rounds))]
        rounds[number].update(values)

    def median(self, contender: str, key: str) -> float | None:
        """Median over the rounds; None when it was not measured."""
        values = [values[key] for values in self.rounds.get(contender, []) if key in values]
        return statistics.median(values) if values else None


@dataclass(frozen=True)
class Cores:
    """Who runs where. The proxy has cores of its own, so that what it costs does not depend on its neighbours."""

    proxy: set[int]
    load: set[int]

    @classmethod
    def available(cls) -> Cores:
        """The first core for the proxy, the others for upstream and load; one core is shared."""
        first, *others = sorted(os.sched_getaffinity(0))
        return cls({first}, set(others) or {first})


class Named(Protocol):
    """Something that a round measures: a running server, or a contender that the round starts itself."""

    @property
    def name(self) -> str:
        """Name in the tables."""


T = TypeVar("T")
N = TypeVar("N", bound=Named)


@dataclass
class Bench:
    """What a scenario needs: who is measured, how often, and where."""

    contenders: Sequence[Contender]
    folder: Path
    rounds: int = 5
    quick: bool = False
    cores: Cores = field(default_factory=Cores.available)
    _started: int = 0

    def __post_init__(self) -> None:
        self.body = self.folder / "chat.json"
        self.body.write_bytes(chat_body())

    def pick(self, full: T, quick: T) -> T:
        """``quick`` in a quick run, else ``full``."""
        return quick if self.quick else full

    def upstream(self, **options: float) -> contextlib.AbstractContextManager[Server]:
        """The mock engine, on the load's cores."""
        return running_upstream(self._subfolder("upstream"), self.cores.load, **options)

    def proxy(
        self, contender: Contender, spec: Spec, cores: set[int] | None = None, *, wait: bool = True
    ) -> contextlib.AbstractContextManager[Server]:
        """One proxy, on the proxy's core or on ``cores``."""
        return running(contender, spec, self._subfolder(contender.name), cores or self.cores.proxy, wait)

    @contextlib.contextmanager
    def proxies(
        self, spec: Spec, result: Result, cores: set[int] | None = None, contenders: Sequence[Contender] | None = None
    ) -> Iterator[list[Server]]:
        """All contenders at once, or those given; ``result`` learns of those that cannot be started."""
        with contextlib.ExitStack() as stack:
            servers = []
            for contender in self.contenders if contenders is None else contenders:
                try:
                    servers.append(stack.enter_context(self.proxy(contender, spec, cores)))
                except BenchError as error:
                    result.failed[contender.name] = str(error)
            yield servers

    def interleave(
        self, result: Result, subjects: Sequence[N], measure: Callable[[N], Values], rounds: int = 0
    ) -> None:
        """Measure each subject once per round, in alternating order, so that slow drifts of the machine hit all alike.

        Subjects of one name (a proxy started in several ways) share their rounds.
        """
        for number in range(rounds or self.rounds):
            for subject in subjects if number % 2 == 0 else subjects[::-1]:
                if subject.name in result.failed:
                    continue
                try:
                    values = measure(subject)
                except (BenchError, TimeoutError, OSError) as error:
                    result.failed[subject.name] = f"{type(error).__name__}: {error}"
                else:
                    result.record(subject.name, number, values)

    def _subfolder(self, name: str) -> Path:
        self._started += 1
        return self.folder / f"{self._started:03}-{name}"
