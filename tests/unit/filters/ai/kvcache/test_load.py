"""Readings of engines: a ratio that is really measured, and nothing that is too old."""

from __future__ import annotations

import pytest

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.filters.ai.kvcache.load import Board, Load

A, B = (Endpoint("main", name, "127.0.0.1", port) for name, port in (("a", 1), ("b", 2)))


@pytest.mark.parametrize(
    ("load", "ratio"),
    [
        (Load(0, 0), 0.0),
        (Load(8, 0), 0.0),
        (Load(8, 0, 0.25), 0.25),
        (Load(6, 2, 0.1), 0.25),
        (Load(0, 5, 0.1), 1.0),
        (Load(1, 1, 0.9), 0.9),
    ],
)
def test_ratio_is_between_0_and_1(load: Load, ratio: float) -> None:
    """What `load_threshold` is compared with: the share of the cache in use, or of requests that wait."""
    assert load.ratio == ratio


def test_a_reading_counts_for_its_time_only() -> None:
    """An engine that has stopped telling is unknown, not idle."""
    board = Board(max_age=5.0)
    board.put(A, Load(3, 1, 0.5, at=10.0))
    assert board.get(A, 15.0) == Load(3, 1, 0.5, at=10.0)
    assert board.get(A, 15.1) is None
    assert board.get(B, 10.0) is None
    assert board.ratio(15.1) is None


def test_the_busiest_engine_gives_the_ratio() -> None:
    """One full engine is enough for a rule that protects engines."""
    board = Board(max_age=5.0)
    board.put(A, Load(3, 1, 0.5, at=1.0))
    board.put(B, Load(0, 0, 0.75, at=1.0))
    assert board.ratio(2.0) == 0.75
    assert board.cache_usage(2.0) == 0.75
    board.put(B, Load(0, 0, None, at=1.0))
    assert board.cache_usage(2.0) == 0.5


def test_endpoints_that_are_gone_are_forgotten() -> None:
    """The board is as large as the clusters are."""
    board = Board(max_age=5.0)
    for endpoint in (A, B):
        board.put(endpoint, Load(1, 1, at=1.0))
    board.keep([B])
    assert board.get(A, 1.0) is None
    assert board.get(B, 1.0) is not None
