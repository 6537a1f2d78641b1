"""Guarded calls of one kind to one service: a breaker, and more than one try where nobody waits.

Two ways to call. ``once`` is for a request that waits: one try, no pause, and a time limit or a client that goes away says
nothing about the service. ``patiently`` is for the background: pauses between tries, and a time limit is a failure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pixiu_py.filters.http.breaker import Breaker, Limits, State
from pixiu_py.upstream.client import CallFailed

if TYPE_CHECKING:
    from pixiu_py.observability.metrics import Counter

T = TypeVar("T")
#: Failures in a row do not grow old: a success is what ends the row.
_FOR_EVER = 1e9
#: As a number, for metrics; Pixiu's.
STATES = {State.CLOSED: 0, State.OPEN: 1, State.HALF_OPEN: 2}


@dataclass(frozen=True, slots=True)
class Tries:
    """How often, and with what pauses in seconds, a call is made."""

    most: int = 1
    base: float = 0.1
    longest: float = 2.0

    def pause(self, number: int) -> float | None:
        """The pause after try ``number``, which has failed; None when it was the last one."""
        return min(self.base * 2 ** min(number - 1, 32), self.longest) if number < max(self.most, 1) else None


def limits(failures: int, recovery: float, probes: int) -> Limits:
    """A breaker that opens after so many failures in a row, for ``recovery`` seconds, and closes after ``probes``."""
    return Limits(
        threshold=failures,
        is_ratio=False,
        min_requests=0,
        interval=_FOR_EVER,
        retry=recovery,
        probes=probes,
        in_a_row=True,
    )


class Calls:
    """Calls of one kind (``tokenize``, ``lookup``, ``pin`` …). ``results`` counts them by kind and result."""

    def __init__(
        self,
        kind: str,
        breaker: Limits,
        tries: Tries,
        clock: Callable[[], float],
        results: Counter,
        *,
        may_repeat: bool = True,
        forgiven: Collection[int] = (),
    ) -> None:
        self.kind = kind
        self.breaker = Breaker(breaker)
        self._tries = tries
        self._clock = clock
        self._results = results
        #: False for what changes something: only a call that never arrived is made again.
        self._may_repeat = may_repeat
        #: Statuses that are about what the client wants and say nothing about the service.
        self._forgiven = frozenset(forgiven)

    @property
    def ready(self) -> bool:
        """True when a call would be tried now."""
        return not self.breaker.ready_in(self._clock())

    async def once(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call while somebody waits. Raises ``CallFailed``, with the kind ``breaker`` when it is not even tried."""
        return await self._try(call, patient=False)

    async def patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call while nobody waits. Raises the last try's ``CallFailed``."""
        number = 0
        while True:
            number += 1
            try:
                return await self._try(call, patient=True)
            except CallFailed as error:
                again = error.may_pass if self._may_repeat else error.kind == "connect"
                pause = self._tries.pause(number) if again else None
                if pause is None:
                    raise
            await asyncio.sleep(pause)

    async def _try(self, call: Callable[[], Awaitable[T]], *, patient: bool) -> T:
        breaker = self.breaker
        if breaker.ready_in(self._clock()):
            self._results.inc((self.kind, "breaker"))
            raise CallFailed("breaker", f"{self.kind} has failed too often")
        ticket = breaker.admit(self._clock())
        try:
            answer = await call()
        except CallFailed as error:
            self._results.inc((self.kind, error.kind))
            if error.status in self._forgiven or (error.kind == "timeout" and not patient):
                breaker.release(ticket)
            else:
                breaker.report(ticket, True, self._clock())
            raise
        except BaseException:  # cancelled
            breaker.release(ticket)
            self._results.inc((self.kind, "cancelled"))
            raise
        breaker.report(ticket, False, self._clock())
        self._results.inc((self.kind, "ok"))
        return answer
