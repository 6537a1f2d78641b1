"""Rules of flow control: never above the limit, never stuck below it, and honest about when to come again."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixiu_py.filters.http.flow_control import SlidingWindow, Throttle, decide


def admitted(control, times):
    return [now for now in times if decide([control], now).admitted]


@given(
    threshold=st.integers(1, 20),
    gaps=st.lists(st.floats(0, 0.7), min_size=1, max_size=200),
    start=st.floats(0, 1e6),
)
def test_no_window_ever_holds_more_than_the_threshold(threshold, gaps, start):
    times, now = [], start
    for gap in gaps:
        now += gap
        times.append(now)
    passed = admitted(SlidingWindow(threshold, 1.0), times)
    for position, first in enumerate(passed):
        assert sum(first <= later <= first + 1.0 for later in passed[position:]) <= threshold


def test_a_burst_up_to_the_threshold_passes_at_once():
    assert len(admitted(SlidingWindow(100, 1.0), [5.0] * 150)) == 100


def test_a_steady_client_gets_nearly_the_whole_threshold():
    times = [position / 1000 for position in range(10_000)]
    passed = admitted(SlidingWindow(100, 1.0), times)
    assert 960 <= len(passed) <= 1000


@given(st.lists(st.floats(0, 2), min_size=1, max_size=100), st.integers(1, 5))
def test_after_the_wait_that_was_told_a_request_passes(gaps, threshold):
    window, now = SlidingWindow(threshold, 1.0), 0.0
    for gap in gaps:
        now += gap
        verdict = decide([window], now)
        if not verdict.admitted:
            assert 0 < verdict.seconds <= 1.0 + 2 / SlidingWindow.SLOTS
            now += verdict.seconds + 1e-6
            assert decide([window], now).admitted


@pytest.mark.parametrize("threshold", [0, 0.5])
def test_a_threshold_below_one_admits_nothing(threshold):
    verdict = decide([SlidingWindow(threshold, 2.0)], 10.0)
    assert (verdict.admitted, verdict.seconds) == (False, 2.0)


def test_a_long_pause_forgets_everything():
    window = SlidingWindow(2, 1.0)
    assert len(admitted(window, [0.0, 0.0, 0.0])) == 2
    assert len(admitted(window, [1e9, 1e9, 1e9])) == 2


def test_memory_does_not_grow():
    window = SlidingWindow(10**6, 1.0)
    rng = random.Random(1)
    now = 0.0
    for _ in range(2000):
        now += rng.random()
        window.take(now)
    assert len(window._counts) == SlidingWindow.SLOTS + 1


def test_throttled_requests_are_spaced_evenly():
    throttle = Throttle(10, 1.0, patience=0.25)
    assert [decide([throttle], 7.0) for _ in range(3)] == [
        (True, 0.0),
        (True, pytest.approx(0.1)),
        (True, pytest.approx(0.2)),
    ]


def test_who_would_be_held_too_long_is_refused_and_takes_no_place():
    throttle = Throttle(10, 1.0, patience=0.0)
    assert decide([throttle], 7.0).admitted
    for _ in range(5):
        verdict = decide([throttle], 7.0)
        assert (verdict.admitted, verdict.seconds) == (False, pytest.approx(0.1))
    assert decide([throttle], 7.1000001).admitted


def test_an_idle_throttle_saves_nothing_up():
    throttle = Throttle(10, 1.0, patience=0.0)
    assert len(admitted(throttle, [100.0] * 5)) == 1


def test_a_request_that_one_control_refuses_is_counted_by_none():
    wide, narrow = SlidingWindow(2, 1.0), SlidingWindow(1, 1.0)
    assert decide([wide, narrow], 0.0).admitted
    assert not decide([wide, narrow], 0.0).admitted
    assert decide([wide], 0.0).admitted


def test_the_longest_wait_counts():
    short, long = SlidingWindow(1, 1.0), SlidingWindow(1, 60.0)
    decide([short, long], 0.0)
    assert decide([short, long], 0.0).seconds > 50
