"""The score: a table of situations, and which endpoint wins."""

from __future__ import annotations

import pytest

from pixiu_py.filters.ai.kvcache.config import ScoreConfig
from pixiu_py.filters.ai.kvcache.score import Facts, cost, order

WEIGHTS = ScoreConfig()


def test_fewer_matched_tokens_than_the_minimum_count_as_none() -> None:
    """A few shared words are no reason to wait."""
    assert cost(1000, Facts(matched=63), WEIGHTS) == 1000
    assert cost(1000, Facts(matched=64), WEIGHTS) == 936


def test_no_more_than_the_prompt_can_match() -> None:
    """Whatever an index claims."""
    assert cost(1000, Facts(matched=5000), WEIGHTS) == 0


@pytest.mark.parametrize("turn", [0, 1, 2])
def test_equal_endpoints_take_turns(turn: int) -> None:
    """A gateway that has just started does not send everybody to the first."""
    assert order(100, [Facts()] * 3, WEIGHTS, turn)[0] == turn
