"""The score: a table of situations, and which endpoint wins."""

from __future__ import annotations

import pytest

from pixiu_py.filters.ai.kvcache.config import ScoreConfig
from pixiu_py.filters.ai.kvcache.score import Facts, costs, order

WEIGHTS = ScoreConfig()
IDLE = Facts()


def best(length: int, *facts: Facts, weights: ScoreConfig = WEIGHTS, shared: bool = False, turn: int = 0) -> int:
    """The position of the winner."""
    return order(costs(length, facts, weights, shared=shared), turn)[0]


@pytest.mark.parametrize(
    ("situation", "length", "facts", "winner"),
    [
        ("nothing is known: the first in turn", 5000, [IDLE, IDLE], 0),
        ("the holder of the prefix", 5000, [IDLE, Facts(matched=4000)], 1),
        ("the holder of the longer prefix", 5000, [Facts(matched=1000), Facts(matched=4000)], 1),
        ("a match that is too short counts as none", 5000, [Facts(in_flight=1), Facts(matched=63, in_flight=2)], 0),
        ("a holder with a short queue", 5000, [IDLE, Facts(matched=4000, pending=20_000)], 1),
        ("not a holder with a very long queue", 5000, [IDLE, Facts(matched=4000, pending=80_000)], 0),
        ("another holder with a shorter queue", 5000, [Facts(4000, pending=5000), Facts(4000, pending=100)], 1),
        ("a holder that answers many", 5000, [IDLE, Facts(matched=4000, in_flight=50)], 1),
        ("not a holder that answers far too many", 5000, [IDLE, Facts(matched=4000, in_flight=200)], 0),
        ("not a holder in which many wait", 5000, [IDLE, Facts(matched=4000, waiting=40)], 0),
        ("cold: the one with the shorter queue", 5000, [Facts(pending=900), Facts(pending=800)], 1),
        ("cold: the one that answers fewer", 5000, [Facts(in_flight=3), Facts(in_flight=2)], 1),
        ("cold: the one with more free cache", 5000, [Facts(usage=0.9), Facts(usage=0.2)], 1),
        ("cold: the one that had less to do lately", 5000, [Facts(work=1000), Facts(work=900)], 1),
        ("work that is shared out fairly is no reason", 500, [Facts(work=90_000), Facts(400, work=100_000)], 1),
        ("a holder that has had more of little", 5000, [IDLE, Facts(4000, work=60_000)], 1),
        ("a holder that has had a few prompts more", 5000, [Facts(work=70_000), Facts(4000, work=105_000)], 1),
        ("not a holder that has had far too much lately", 5000, [Facts(work=50_000), Facts(4000, work=190_000)], 0),
    ],
)
def test_who_wins(situation: str, length: int, facts: list[Facts], winner: int) -> None:
    """One row per situation."""
    assert best(length, *facts) == winner, situation


def test_a_prefix_that_several_want_at_once_is_copied_sooner() -> None:
    """A conversation waits for its own holder; a hot prompt is computed again where nobody waits."""
    facts = [IDLE, Facts(matched=4000, pending=6000)]
    assert best(5000, *facts) == 1
    assert best(5000, *facts, shared=True) == 0


def test_every_weight_can_be_switched_off() -> None:
    """Then only the cache decides."""
    names = ("pending", "shared_pending", "in_flight", "waiting", "usage", "overload", "work")
    weights = ScoreConfig(**{f"{name}_weight": 0.0 for name in names})
    busy = Facts(matched=100, pending=1e6, in_flight=1000, work=1e6, waiting=1000, usage=1.0)
    assert costs(1000, [IDLE, busy], weights) == [1000, 900]


def test_no_more_than_the_prompt_can_match() -> None:
    """Whatever an index claims."""
    assert costs(1000, [Facts(matched=5000)], WEIGHTS) == [0]


def test_more_cache_never_makes_an_endpoint_worse_nor_more_load_better() -> None:
    """The cost is monotonic in each fact."""
    base = Facts(matched=500, pending=500, in_flight=5, work=500, waiting=5, usage=0.5)
    others = [Facts(work=500)] * 3
    at = costs(1000, [base, *others], WEIGHTS)[0]
    assert costs(1000, [base._replace(matched=600), *others], WEIGHTS)[0] < at
    for fact, more in {"pending": 600, "in_flight": 6, "work": 600, "waiting": 6, "usage": 0.6}.items():
        assert costs(1000, [base._replace(**{fact: more}), *others], WEIGHTS)[0] > at


@pytest.mark.parametrize("turn", [0, 1, 2, 3, 100])
def test_equal_endpoints_take_turns(turn: int) -> None:
    """A gateway that has just started does not send everybody to the first."""
    assert best(100, IDLE, IDLE, IDLE, turn=turn) == turn % 3


def test_nobody_is_ordered_without_endpoints() -> None:
    """A model that no endpoint serves."""
    assert costs(100, [], WEIGHTS) == order([]) == []
