"""Rules of heads as they came: nobody names away what is added later, and what comes again is worked out once."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from pixiu_py.http.headers import Raw, decode
from pixiu_py.http.received import Fields, Received, Shape, received
from pixiu_py.upstream.head import forwarded


def came(*raw: Raw) -> Received:
    """A head with these fields, as it comes from the parser."""
    return received(raw, CIMultiDict([(decode(name), decode(value)) for name, value in raw]))


@pytest.mark.parametrize("value", [b"X-Hop", b"keep-alive, x-hop", b"close,X-HOP ,upgrade"])
def test_fields_that_connection_names_do_not_come_in(value):
    """RFC 9110 section 7.6.1; wherever they stand, also a second Connection field."""
    headers = came(
        (b"X-Hop", b"1"), (b"Connection", b"keep-alive"), (b"Connection", value), (b"x-hop", b"2"), (b"A", b"1")
    ).headers()
    assert "x-hop" not in headers
    assert headers.get("a") == "1"
    assert len(headers) == 3


def test_connection_cannot_take_itself_away():
    """Who closes the connection must still be able to see that it was asked to."""
    assert "connection" in came((b"Connection", b"connection, close")).headers()


def test_what_a_filter_adds_later_cannot_be_named_beforehand():
    """Else a client could remove the claims that a filter passes on."""
    headers = came((b"Connection", b"x-claims")).headers()
    headers.add("x-claims", "{}")
    assert headers.get("x-claims") == "{}"


def test_fields_of_an_ordinary_message_are_not_copied():
    raw = ((b"Connection", b"keep-alive"), (b"A", b"1"))
    assert received(raw, CIMultiDict({"Connection": "keep-alive", "A": "1"})).raw is raw


def test_withholding_from_a_head_that_comes_again_is_work_done_once() -> None:
    """What goes on of it is made for the first message only, and nothing of one message shows in another."""
    head = came((b"A", b"1"), (b"X-Session", b"s"))
    blocks = []
    for _ in range(2):
        headers = head.headers()
        headers.withhold("x-session")
        blocks.append(forwarded(headers).block)
    assert blocks[0] is blocks[1] == b"A: 1\r\n"
    assert head.headers().get("x-session") == "s"
    assert forwarded(head.headers()).block == b"A: 1\r\nX-Session: s\r\n"


def test_putting_into_a_head_that_comes_again_is_work_done_once() -> None:
    head = came((b"A", b"1"))
    said = Fields([(b"x-model", b"m")], [b"x-model", b"x-route"])
    first, second, other = head.headers(), head.headers(), head.headers()
    first.put(said)
    second.put(said)
    assert first.origin is second.origin is not None
    assert list(other) == [("A", "1")]


def test_ways_of_changing_a_head_are_not_remembered_without_end() -> None:
    head = came((b"A", b"1"))
    for number in range(100):
        head.headers().put(Fields([(b"n", b"%d" % number)], [b"n"]))
    assert len(head._changed) <= 16


def test_another_length_is_no_other_head() -> None:
    """What goes on of it, and what was found out about it, is the same; other values make another head."""
    head = came((b"A", b"1"), (b"Content-Length", b"1"))
    head.onward, head.notes["x"] = b"A: 1", 1
    other = head.with_length(1, b"22")
    assert list(other.raw) == [(b"A", b"1"), (b"Content-Length", b"22")]
    assert (other.onward, other.notes) == (b"A: 1", {"x": 1})
    different = head.with_values([0], [b"2"])
    assert list(different.raw) == [(b"A", b"2"), (b"Content-Length", b"1")]
    assert (different.onward, different.notes) == (None, {})


def test_shape_is_a_pattern_of_its_heads() -> None:
    """A percent sign of theirs stays one, in a name too."""
    shape = Shape([(b"a%b", b"100%"), (b"X-Id", b"1"), (b"B", b"%b")], [1])
    block = b"".join(b"%b: %b\r\n" % field for field in shape.raw)
    assert block % (b"2%",) == b"a%b: 100%\r\nX-Id: 2%\r\nB: %b\r\n"
