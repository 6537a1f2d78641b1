"""A time limit that is moved far more often than it is met."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadline:
    """Calls ``passed(phase)`` when a limit has run out.

    Moving it sets a number: the timer stays where it is, looks at that number when it fires, and starts again if it was
    early. So a connection that serves a thousand requests a second starts a timer now and then, not three for each.
    """

    __slots__ = ("_fires_at", "_loop", "_passed", "_phase", "_timer", "at")

    def __init__(self, loop: asyncio.AbstractEventLoop, passed: Callable[[str], None]) -> None:
        self._loop = loop
        self._passed = passed
        #: The loop's time at which the limit runs out; 0: there is none. May be moved to a later time where there is one.
        self.at = 0.0
        self._phase = ""
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at = 0.0

    def set(self, seconds: float, phase: str) -> None:
        """A limit from now on; 0 seconds: none."""
        if not seconds:
            self.at = 0.0
            return
        self._phase = phase
        self.at = self._loop.time() + seconds
        if self._timer is None or self._fires_at > self.at:
            self._start_timer()

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
        if self._loop.time() < self.at:
            self._start_timer()
            return
        self.at = 0.0
        self._passed(self._phase)

    def _start_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._fires_at = self.at  # a short timer of uvloop's cannot say so itself
        self._timer = self._loop.call_at(self.at, self._on_timer)
