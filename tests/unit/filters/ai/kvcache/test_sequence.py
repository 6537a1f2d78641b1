"""Numbers of messages: what was lost, what was heard before, and a new life of the engine."""

from __future__ import annotations

import pytest

from pixiu_py.filters.ai.kvcache.sequence import Sequence, Step


@pytest.mark.parametrize(
    ("number", "time", "step"),
    [
        (6, 11.0, Step.TAKE),
        (7, 11.0, Step.GAP),
        (5, 10.0, Step.SKIP),
        (3, 8.0, Step.SKIP),
        (0, 11.0, Step.RESTART),
        (5, 11.0, Step.RESTART_GAP),
        (2, 11.0, Step.RESTART_GAP),
    ],
)
def test_after_the_fifth_message(number: int, time: float, step: Step) -> None:
    """A smaller number with a later time is a new life, with an earlier one an echo of a replay."""
    sequence = Sequence()
    sequence.took(5, 10.0)
    assert sequence.judge(number, time) is step


def test_first_message() -> None:
    """An engine that has published before we listened: something is missing."""
    assert Sequence().judge(0, 1.0) is Step.TAKE
    assert Sequence().judge(6, 1.0) is Step.GAP


def test_a_new_life() -> None:
    """After a restart the numbers go on from 0, and echoes of the old life are still told by their time."""
    sequence = Sequence()
    sequence.took(5, 10.0)
    sequence.begin()
    assert sequence.judge(0, 11.0) is Step.TAKE
    sequence.took(0, 11.0)
    assert sequence.judge(1, 12.0) is Step.TAKE
    assert sequence.judge(0, 10.5) is Step.SKIP


def test_giving_up() -> None:
    """What is missing will not come: the next number is the one that is there."""
    sequence = Sequence()
    sequence.took(5, 10.0)
    sequence.give_up(9)
    assert sequence.judge(9, 11.0) is Step.TAKE
