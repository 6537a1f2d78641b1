"""Rules of what goes on of a response's head: the endpoint's own fields, and nothing of its connection."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from pixiu_py.http.head_lines import Relayed, date_line, relayed, status_line
from pixiu_py.http.headers import Headers, Raw
from pixiu_py.http.received import Shape, received

DATE = (b"Date", b"Sat, 01 Jan 2022 00:00:00 GMT")
ID = (b"X-Request-Id", b"r")


@pytest.mark.parametrize(
    ("status", "reason", "line"),
    [
        (200, "", b"HTTP/1.1 200 OK\r\n"),
        (200, "Fine", b"HTTP/1.1 200 Fine\r\n"),
        (299, "", b"HTTP/1.1 299 \r\n"),
        (404, "é", b"HTTP/1.1 404 \xc3\xa9\r\n"),
        (200, "a\0b\x7f\tc", b"HTTP/1.1 200 a b \tc\r\n"),
    ],
)
def test_status_line(status: int, reason: str, line: bytes) -> None:
    """The endpoint's reason if it gave one; a space stands there in any case (RFC 9112 section 4)."""
    assert status_line(status, reason) == line


def test_date_is_made_once_in_a_second() -> None:
    """In the format of RFC 9110 section 5.6.7."""
    assert date_line(1640995200) == b"Date: Sat, 01 Jan 2022 00:00:00 GMT\r\n"
    assert date_line(1640995200) is date_line(1640995200)


def test_fields_keep_order_case_and_repetition() -> None:
    """They are the endpoint's own."""
    fields = [(b"set-cookie", b"a=1"), (b"X-B", b"\xe9"), (b"Set-Cookie", b"b=2"), DATE]
    assert Relayed(fields).block == b"".join(b"%b: %b\r\n" % field for field in fields)


def test_fields_of_the_other_connection_stay_there() -> None:
    """Hop-by-hop fields, and the length, which is stated anew."""
    fields = [(b"Connection", b"close"), (b"Keep-Alive", b"timeout=1"), (b"Upgrade", b"h2c")]
    fields += [(b"Transfer-Encoding", b"chunked"), (b"content-length", b"99"), (b"Trailer", b"x"), (b"X-End", b"1")]
    assert Relayed(fields).block == b"X-End: 1\r\n"


@pytest.mark.parametrize("own", [(), (DATE,), (ID,), (DATE, ID)])
@pytest.mark.parametrize("added", [(), (DATE,), (ID,), ((b"X-B", b"2"),)])
def test_date_and_request_id_are_seen_whoever_brings_them(own: tuple[Raw, ...], added: tuple[Raw, ...]) -> None:
    """Else there would be two of them, or none."""
    headers = received((*own, (b"X-A", b"1")), CIMultiDict()).headers()
    for field in added:
        headers.append(field)
    found = relayed(headers)
    assert found.block == b"".join(b"%b: %b\r\n" % field for field in (*own, (b"X-A", b"1"), *added))
    assert (found.dated, found.identified) == (DATE in own + added, ID in own + added)


def test_what_goes_on_of_a_head_is_made_once() -> None:
    """Until a filter changes it: then that response has its own."""
    head = received(((b"A", b"1"),), CIMultiDict(a="1"))
    assert relayed(head.headers()) is relayed(head.headers())
    changed = head.headers()
    changed.set("A", "2")
    assert relayed(changed).block == b"A: 2\r\n"
    assert relayed(Headers(((b"A", b"1"),))).block == relayed(head.headers()).block == b"A: 1\r\n"


def test_heads_of_one_shape_are_made_of_one_pattern() -> None:
    """Each with its own value, also where another field looks like a pattern."""
    raw = (DATE, (b"X-Id", b"1"), (b"X-Part", b"100%b"), (b"Connection", b"close"))
    shape = Shape(raw, [1])
    for value in (b"2", b"%b"):
        head = received((raw[0], (b"X-Id", value), *raw[2:]), CIMultiDict())
        head.shape, head.values = shape, (value,)
        found = relayed(head.headers())
        assert found.block == Relayed(head.raw).block
        assert (found.dated, found.identified) == (True, False)
