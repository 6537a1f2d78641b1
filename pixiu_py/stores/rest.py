"""A server that does not answer is left alone for a while: then one call tries, and the others fail at once. Pure."""

from __future__ import annotations

from collections.abc import Callable


class Rest:
    """Of one server: ``seconds`` long, 0 for none. Times are those of ``clock``."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        #: Until then calls fail at once; 0: the last one was answered.
        self._until = 0.0

    @property
    def lasts(self) -> bool:
        """Whether the last call got no answer: calls fail, or try."""
        return bool(self._until)

    def admits(self) -> bool:
        """Whether a call may be made now. The first one after the rest tries; the others wait for what it finds."""
        now = self._clock()
        if now < self._until:
            return False
        if self._until:
            self._until = now + self._seconds
        return True

    def begin(self) -> None:
        """A call got no answer."""
        self._until = self._clock() + self._seconds

    def end(self) -> None:
        """A call was answered, be it with an error."""
        self._until = 0.0
