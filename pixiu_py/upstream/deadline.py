"""A time limit that is moved far more often than it is met."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

#: The timer of a loose limit fires so many times within it.
LOOSENESS = 4


class Deadline:
    """Calls ``passed(phase)`` when a limit has run out.

    Moving it sets a number: the timer stays where it is, looks at that number when it fires, and starts again if it was
    early. So a connection that serves a thousand requests a second starts a timer now and then, not three for each.

    Moving it is cheaper still where the limit may come late: whoever sets ``moved`` asks for no time, and the timer, which
    fires several times within a limit that is ``loose``, counts from when it sees that.
    """

    __slots__ = ("_fires_at", "_loop", "_passed", "_phase", "_seconds", "_step", "_timer", "at", "moved")

    def __init__(self, loop: asyncio.AbstractEventLoop, passed: Callable[[str], None]) -> None:
        self._loop = loop
        self._passed = passed
        #: The loop's time at which the limit runs out; 0: there is none.
        self.at = 0.0
        #: A loose limit is to be counted from now on: at most a ``LOOSENESS``-th of it too late.
        self.moved = False
        self._seconds = 0.0
        #: Seconds after which the timer looks at a loose limit; 0: the limit is not loose.
        self._step = 0.0
        self._phase = ""
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at = 0.0

    def set(self, seconds: float, phase: str) -> None:
        """A limit from now on; 0 seconds: none."""
        self._step = 0.0
        if not seconds:
            self.at = 0.0
            return
        self._phase = phase
        self.at = self._loop.time() + seconds
        if self._timer is None or self._fires_at > self.at:
            self._start_timer(self.at)

    def set_loose(self, seconds: float, phase: str) -> None:
        """A limit from now on that ``moved`` counts for; 0 seconds: none."""
        if not seconds:
            self.at = 0.0
            return
        self._phase = phase
        self._seconds = seconds
        self._step = seconds / LOOSENESS
        self.moved = False
        now = self._loop.time()
        self.at = now + seconds
        if self._timer is None or self._fires_at > now + self._step:
            self._start_timer(now + self._step)

    def extend(self, seconds: float) -> None:
        """Count the limit from now on, where there is one. Only for a limit that is no shorter than the one before."""
        if self.at and seconds:
            self.at = self._loop.time() + seconds

    def clear(self) -> None:
        """No limit."""
        self.at = 0.0

    def close(self) -> None:
        """No limit, and no timer: it will not be needed again."""
        self.at = 0.0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        if not self.at:
            return
        now = self._loop.time()
        step = self._step
        if step and self.moved:
            self.moved = False
            self.at = now + self._seconds
        if now < self.at:
            self._start_timer(min(self.at, now + step) if step else self.at)
            return
        self.at = 0.0
        self._passed(self._phase)

    def _start_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._fires_at = at  # a short timer of uvloop's cannot say so itself
        self._timer = self._loop.call_at(at, self._on_timer)
