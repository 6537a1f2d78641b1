"""The numbers of one engine's messages: what is next, what is missing, and when it has begun anew. Pure.

Messages are published, not delivered: what nobody heard is lost, and only the numbers tell. They begin at 0 in each life of
an engine; a smaller number with a later time is a new life, with an earlier time something heard before.
"""

from __future__ import annotations

from enum import Enum


class Step(Enum):
    """What to do with a message."""

    TAKE = "take"
    #: It was heard before.
    SKIP = "skip"
    #: Some before it are missing: ask for them, or forget.
    GAP = "gap"
    #: The engine has begun anew: forget, then take it.
    RESTART = "restart"
    #: As ``RESTART``, with some before it missing.
    RESTART_GAP = "restart_gap"


class Sequence:
    """Where one engine's messages have got to."""

    __slots__ = ("last", "time")

    def __init__(self) -> None:
        #: The latest number and the time of its message; -1: none.
        self.last = -1
        self.time = float("-inf")

    def judge(self, number: int, time: float) -> Step:
        """What a message with this number and this time of the engine's clock means."""
        if number == self.last + 1:
            return Step.TAKE
        if number > self.last:
            return Step.GAP
        if time <= self.time:
            return Step.SKIP
        return Step.RESTART if number == 0 else Step.RESTART_GAP

    def took(self, number: int, time: float) -> None:
        """A message has been taken."""
        self.last = number
        self.time = max(self.time, time)

    def give_up(self, number: int) -> None:
        """What is missing before this number will not come."""
        self.last = number - 1

    def begin(self) -> None:
        """Count from 0 again. The engine's clock goes on."""
        self.last = -1
