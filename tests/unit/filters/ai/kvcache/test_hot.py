"""Uses of prompts within a window: bounded in records, keys and time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixiu_py.filters.ai.kvcache.hot import HotWindow


def test_uses_within_the_window() -> None:
    """Older ones do not count."""
    hot = HotWindow(10.0, 300, 100)
    assert [hot.record(b"a", now) for now in (0.0, 5.0, 10.0, 16.0)] == [1, 2, 3, 2]
    assert hot.uses(b"a", 20.0) == 2
    assert hot.uses(b"a", 26.1) == 0
    assert hot.uses(b"b", 0.0) == 0


def test_records_are_bounded() -> None:
    """The newest are kept."""
    hot = HotWindow(10.0, 3, 100)
    assert [hot.record(b"a", 0.0) for _ in range(5)] == [1, 2, 3, 3, 3]


def test_keys_are_bounded() -> None:
    """The one unused longest goes first."""
    hot = HotWindow(10.0, 3, 2)
    for key in (b"a", b"b", b"a", b"c"):
        hot.record(key, 1.0)
    assert [hot.uses(key, 1.0) for key in (b"a", b"b", b"c")] == [2, 0, 1]


def test_expired_keys_go_by_themselves() -> None:
    """Not only when there are too many."""
    hot = HotWindow(10.0, 3, 100)
    for number in range(50):
        hot.record(b"%d" % number, float(number))
    assert len(hot) == 11


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c", b"d"]), st.floats(0, 5)), max_size=60))
@pytest.mark.parametrize("most", [1, 3])
def test_it_agrees_with_a_plain_count(most: int, uses: list[tuple[bytes, float]]) -> None:
    """As long as nothing is dropped for want of room, a key's count is what one would count by hand."""
    hot = HotWindow(10.0, 1000, most)
    now = 0.0
    history: list[tuple[bytes, float]] = []
    for key, passed in uses:
        now += passed
        history.append((key, now))
        counted = hot.record(key, now)
        by_hand = sum(1 for other, at in history if other == key and now - at <= 10.0)
        assert counted <= by_hand
        if most >= len({key for key, _ in history}):
            assert counted == by_hand
        assert len(hot) <= most
