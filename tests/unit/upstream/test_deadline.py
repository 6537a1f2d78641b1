"""A time limit that is moved far more often than it is met, over a clock that the test turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from pixiu_py.upstream.deadline import Deadline
from tests.fakes.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def passed() -> list[str]:
    return []


@pytest.fixture
def deadline(clock: Clock, passed: list[str]) -> Deadline:
    return Deadline(cast(Any, clock), passed.append)


def test_limit_that_runs_out_is_told_once_with_its_phase(clock: Clock, deadline: Deadline, passed: list[str]) -> None:
    deadline.set(5, "idle")
    clock.turn(4.9)
    assert passed == []
    clock.turn(0.2)
    clock.turn(10)
    assert passed == ["idle"]


def test_moving_a_limit_to_later_starts_no_timer(clock: Clock, deadline: Deadline, passed: list[str]) -> None:
    """The one there is looks again when it fires."""
    deadline.set(5, "idle")
    for _ in range(100):
        clock.now += 1
        deadline.extend(5)
    assert len(clock.timers) == 1
    clock.turn(0)
    assert passed == []
    clock.turn(5)
    assert passed == ["idle"]


def test_shorter_limit_is_met_in_time(clock: Clock, deadline: Deadline, passed: list[str]) -> None:
    """The timer of a longer one would come too late."""
    deadline.set(60, "first_byte")
    deadline.set(1, "idle")
    clock.turn(1)
    assert passed == ["idle"]


@pytest.mark.parametrize("end", [lambda deadline: deadline.clear(), lambda deadline: deadline.set(0, "")])
def test_no_limit_never_passes(
    clock: Clock, deadline: Deadline, passed: list[str], end: Callable[[Deadline], None]
) -> None:
    deadline.set(1, "idle")
    end(deadline)
    deadline.extend(1)
    clock.turn(100)
    assert passed == []


def test_zero_seconds_extend_nothing(clock: Clock, deadline: Deadline, passed: list[str]) -> None:
    """No limit on silence leaves the limit on the first byte as it is."""
    deadline.set(5, "first_byte")
    deadline.extend(0)
    clock.turn(4)
    assert passed == []
    clock.turn(1)
    assert passed == ["first_byte"]


def test_closing_takes_the_timer_along(clock: Clock, deadline: Deadline, passed: list[str]) -> None:
    deadline.set(1, "idle")
    deadline.close()
    assert all(timer.cancelled for timer in clock.timers)
    clock.turn(2)
    assert passed == []


def test_loose_limit_runs_out_in_time_when_nothing_moves_it(
    clock: Clock, deadline: Deadline, passed: list[str]
) -> None:
    """Looking several times within it changes nothing."""
    deadline.set_loose(4, "idle")
    for _ in range(3):
        clock.turn(1)
    assert passed == []
    clock.turn(1)
    assert passed == ["idle"]


@pytest.mark.parametrize("moves", [1, 2, 8, 9, 31, 100])
def test_loose_limit_is_never_early_and_a_quarter_late_at_most(
    clock: Clock, deadline: Deadline, passed: list[str], moves: int
) -> None:
    """Counted from the last move, whenever that was between two looks of the timer."""
    deadline.set_loose(4, "idle")
    for _ in range(moves):
        clock.turn(0.125)
        deadline.moved = True
    silent = 0.0
    while not passed:
        clock.turn(0.125)
        silent += 0.125
    assert 4 <= silent <= 5


def test_loose_limit_can_still_be_moved_exactly(clock: Clock, deadline: Deadline, passed: list[str]) -> None:
    deadline.set_loose(4, "idle")
    clock.turn(2.5)
    deadline.extend(4)
    clock.turn(3.9)
    assert passed == []
    clock.turn(0.1)
    assert passed == ["idle"]


def test_exact_limit_takes_no_notice_of_a_move(clock: Clock, deadline: Deadline, passed: list[str]) -> None:
    """One that was loose before is not any more."""
    deadline.set_loose(4, "idle")
    deadline.set(4, "keep_alive")
    deadline.moved = True
    clock.turn(4)
    assert passed == ["keep_alive"]


def test_no_loose_limit_never_passes(clock: Clock, deadline: Deadline, passed: list[str]) -> None:
    """Zero seconds, whatever moves it."""
    deadline.set_loose(1, "idle")
    deadline.set_loose(0, "idle")
    deadline.moved = True
    clock.turn(100)
    assert passed == []
