"""Says what fails again and again once in a while, and not for each request. Pure."""

from __future__ import annotations

from collections.abc import Callable

#: Seconds between two lines about the same.
QUIET = 30.0


class Seldom:
    """Counts what happens, and tells when it is time to say so."""

    __slots__ = ("_clock", "_count", "_said")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._count = 0
        self._said = float("-inf")

    def happened(self) -> int:
        """It has happened once more. How often it has since it was last said, if it is to be said now; else 0."""
        self._count += 1
        now = self._clock()
        if now - self._said < QUIET:
            return 0
        count, self._count, self._said = self._count, 0, now
        return count
