"""Which values of a head may differ, and what may stand in their places."""

from __future__ import annotations

import pytest

from pixiu_py.http.head_pattern import LONGEST_VALUE, MOST_VARYING, HeadPattern, checks_of, pattern_of, varying
from pixiu_py.http.headers import Raw

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\nX-Id:\t%b\r\nContent-Length: %b\r\nX-B: b\r\n\r\n"
RAW = ((b"Host", b"a"), (b"X-Id", b"1"), (b"Content-Length", b"2"), (b"X-B", b"b"))


def known() -> HeadPattern:
    pattern = pattern_of(HEAD % (b"1", b"2"), RAW, checks_of(frozenset((1,))))
    assert pattern is not None
    return pattern


def test_values_are_found_in_their_places() -> None:
    """With where the body begins."""
    pattern = known()
    data = HEAD % (b"22", b"7")
    assert pattern.split(data + b"body") == ([b"22", b"7"], len(data))
    assert (pattern.places, pattern.length, pattern.varying) == ((1, 2), 1, {1})
    assert pattern.split(data.replace(b"X-B", b"X-b")) is None
    assert pattern.split(data.replace(b"\t", b" ")) is None
    assert pattern.split(data[:-1]) is None


@pytest.mark.parametrize(
    ("values", "differing"),
    [
        ([b"1", b"2"], []),
        ([b"a b", b"12"], [0, 1]),
        ([b"1", b"12"], [1]),
        ([b"1", b""], None),
        ([b"1", b"-1"], None),
        ([b"1", b"1" * 13], None),
        ([b"", b"2"], None),
        ([b"1 ", b"2"], None),
        ([b"1" * LONGEST_VALUE, b"2"], [0]),
        ([b"1" * (LONGEST_VALUE + 1), b"2"], None),
    ],
)
def test_what_may_stand_there(values: list[bytes], differing: list[int] | None) -> None:
    assert known().differing(values, [b"1", b"2"]) == differing


@pytest.mark.parametrize(
    ("new", "places"),
    [
        (RAW, set()),
        ((*RAW[:1], (b"X-Id", b"2"), *RAW[2:]), {1}),
        ((*RAW[:1], (b"X-Id", b"2"), (b"Content-Length", b"3"), RAW[3]), {1}),
        ((*RAW[:1], (b"x-id", b"2"), *RAW[2:]), set()),
        ((*RAW[:1], (b"X-Id", b"2"), *RAW[2:3]), set()),
        (((b"Host", b"b"), (b"X-Id", b"2"), *RAW[2:]), set()),
    ],
)
def test_which_fields_vary(new: tuple[Raw, ...], places: set[int]) -> None:
    """Those whose values differ, if nothing else does; none beside one that must not."""
    assert varying(RAW, new) == places


@pytest.mark.parametrize(
    "head",
    [
        HEAD % (b"1 ", b"2"),
        HEAD % (b"1", b"+2"),
        HEAD % (b"1", b"2\r\n "),
        (HEAD % (b"1", b"2")).replace(b"X-B: b\r\n", b""),
        (HEAD % (b"1", b"2")).replace(b"X-Id:", b"X-Id :"),
    ],
)
def test_head_that_is_written_in_an_unusual_way_has_no_pattern(head: bytes) -> None:
    """The parser may have read it in more than one way."""
    assert pattern_of(head, RAW, checks_of(frozenset((1,)))) is None


def test_two_lengths_have_no_pattern() -> None:
    raw = ((b"Content-Length", b"2"),) * 2
    assert pattern_of(b"GET / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n", raw, {}) is None


def test_only_so_many_vary() -> None:
    """More of them would cost more than they spare."""
    assert len(checks_of(frozenset(range(MOST_VARYING)))) == MOST_VARYING
    assert not checks_of(frozenset(range(MOST_VARYING + 1)))
