"""The average of answers, in which older ones count less."""

from __future__ import annotations

import pytest

from pixiu_py.filters.llm.router.latency import Latencies


def test_unknown_until_something_was_seen() -> None:
    latencies = Latencies(10.0)
    assert latencies.of("m", 0.0) is None
    latencies.observe("m", "e", 0.5, 0.0)
    assert latencies.of("m", 0.0) == 0.5


def test_older_answers_count_less() -> None:
    """After a half-life half as much, however many came then."""
    latencies = Latencies(10.0)
    for _ in range(4):
        latencies.observe("m", "e", 1.0, 0.0)
    for _ in range(2):
        latencies.observe("m", "e", 4.0, 10.0)
    assert latencies.of("m", 10.0) == pytest.approx((2 * 1.0 + 2 * 4.0) / 4)
    assert latencies.of("m", 20.0) == latencies.of("m", 10.0)


def test_endpoints_of_a_model_count_by_their_answers() -> None:
    """Each by itself, so that one that has not answered for long weighs less."""
    latencies = Latencies(10.0)
    latencies.observe("m", "slow", 3.0, 0.0)
    latencies.observe("m", "quick", 1.0, 10.0)
    assert latencies.of("m", 10.0) == pytest.approx((0.5 * 3.0 + 1.0) / 1.5)


def test_what_is_long_ago_is_forgotten() -> None:
    """A model that nobody has asked for a day is not known to be fast."""
    latencies = Latencies(1.0)
    latencies.observe("m", "e", 1.0, 0.0)
    assert latencies.of("m", 5.0) == 1.0
    assert latencies.of("m", 60.0) is None


def test_memory_is_bounded() -> None:
    """Names come from clients: the one that answered longest ago is dropped."""
    latencies = Latencies(10.0, most=2)
    latencies.observe("a", "e", 1.0, 0.0)
    latencies.observe("b", "e", 1.0, 1.0)
    latencies.observe("a", "e", 1.0, 2.0)
    latencies.observe("c", "e", 1.0, 3.0)
    assert [latencies.of(model, 3.0) for model in "abc"] == [1.0, None, 1.0]
