"""What is asked of the cache controller: a table."""

from __future__ import annotations

import pytest

from pixiu_py.filters.ai.kvcache.strategy import Done, Rules, decide

ALL = Rules(load=0.8, memory=0.9, hot=3, compress=True, pin=True, evict=True)


@pytest.mark.parametrize(
    ("load", "memory", "uses", "operations"),
    [
        (0.0, 0.0, 0, []),
        (0.79, 0.89, 2, []),
        (0.8, 0.0, 0, ["compress"]),
        (0.0, 0.9, 0, ["evict"]),
        (0.0, 0.0, 3, ["pin"]),
        (1.0, 1.0, 2, ["compress", "evict"]),
        (1.0, 1.0, 9, ["compress", "pin"]),
    ],
)
def test_all_rules(load: float, memory: float, uses: int, operations: list[str]) -> None:
    """In this order; what is to be pinned is not evicted."""
    assert [decision.operation for decision in decide(ALL, load, memory, uses)] == operations


@pytest.mark.parametrize("rules", [Rules(0.8, 0.9, 3), Rules(compress=True, pin=True, evict=True)])
def test_a_rule_needs_its_switch_and_its_threshold(rules: Rules) -> None:
    """A threshold of 0 is a rule that is off, not one that always holds."""
    assert decide(rules, 1.0, 1.0, 100) == ()
    assert not rules.wanted
    assert ALL.wanted


def test_nothing_is_asked_for_twice_within_the_time() -> None:
    """For each operation and prompt."""
    done = Done(10.0, 100)
    assert done.first("pin", b"a", 0.0)
    assert not done.first("pin", b"a", 10.0)
    assert done.first("pin", b"b", 10.0)
    assert done.first("evict", b"a", 10.0)
    assert done.first("pin", b"a", 10.1)


def test_what_failed_may_be_asked_for_again() -> None:
    """A call that came to nothing has not been done."""
    done = Done(10.0, 100)
    done.first("pin", b"a", 0.0)
    done.undo("pin", b"a")
    done.undo("pin", b"b")
    assert done.first("pin", b"a", 0.0)


def test_memory_is_bounded() -> None:
    """The oldest is forgotten first."""
    done = Done(10.0, 2)
    for key in (b"a", b"b", b"c"):
        done.first("pin", key, 0.0)
    assert len(done) == 2
    assert done.first("pin", b"a", 0.0)
