"""A clock that the test turns."""

from __future__ import annotations

from collections.abc import Callable


class Timer:
    """What ``Clock.call_at`` gives."""

    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at = at
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        """Fire no more."""
        self.cancelled = True


class Clock:
    """A loop that only knows timers; ``turn`` fires those that are due."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        """Seconds."""
        return self.now

    def call_at(self, at: float, call: Callable[[], None]) -> Timer:
        """Start a timer."""
        self.timers.append(Timer(at, call))
        return self.timers[-1]

    def turn(self, seconds: float) -> None:
        """Let so much time pass at once."""
        self.now += seconds
        for timer in [timer for timer in self.timers if timer.at <= self.now and not timer.cancelled]:
            self.timers.remove(timer)
            timer.call()
