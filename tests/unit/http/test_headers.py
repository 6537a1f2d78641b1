"""Rules of header fields: raw bytes survive, names have no case, nothing splits the head."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from pixiu_py.http.headers import HOP, LENGTH, PLAIN, Headers, Raw, decode, encode, kind_of
from pixiu_py.http.received import Fields, received
from pixiu_py.upstream.head import forwarded

RAW = [(b"Host", b"a"), (b"X-One", b"1"), (b"x-one", b"2")]


def test_order_case_and_repetition_are_kept():
    headers = Headers(RAW)
    assert list(headers.raw) == RAW
    assert list(headers) == [("Host", "a"), ("X-One", "1"), ("x-one", "2")]
    assert len(headers) == 3


def test_look_up_ignores_case():
    headers = Headers(RAW)
    assert headers.get("HOST") == "a"
    assert headers.get("x-ONE") == "1"
    assert headers.getall("X-one") == ["1", "2"]
    assert "hOsT" in headers
    assert "absent" not in headers
    assert headers.get("absent", "default") == "default"


def test_a_generator_of_fields_is_read_once():
    headers = Headers(field for field in RAW)
    assert len(headers) == 3
    assert len(headers) == 3


def test_of_builds_from_strings():
    assert Headers.of({"A": "ü"}).raw == [(b"A", "ü".encode())]


@pytest.mark.parametrize("data", [b"plain", "ü".encode(), b"\xff\xfe latin", b""])
def test_every_byte_survives_the_round_trip(data):
    assert encode(decode(data)) == data


def test_set_replaces_every_field_of_the_name():
    headers = Headers(RAW)
    headers.set("X-ONE", "3")
    assert headers.getall("x-one") == ["3"]
    assert len(headers) == 2


def test_add_keeps_the_others():
    headers = Headers(tuple(RAW))
    headers.add("x-one", "3")
    assert headers.getall("x-one") == ["1", "2", "3"]


def test_remove_takes_several_names():
    headers = Headers(RAW)
    headers.remove("host", "X-One", "absent")
    assert len(headers) == 0


def test_changes_do_not_touch_the_list_that_was_given():
    raw = list(RAW)
    headers = Headers(raw)
    headers.add("a", "b")
    headers.remove("host")
    assert raw == RAW


def test_a_copy_is_independent():
    headers = Headers(RAW)
    copy = headers.copy()
    copy.set("host", "b")
    assert headers.get("host") == "a"


def test_the_ready_made_index_serves_until_the_first_change():
    headers = Headers(RAW, index={"Host": "from the index"})
    assert headers.get("Host") == "from the index"
    headers.add("a", "b")
    assert headers.get("Host") == "a"


@pytest.mark.parametrize("bad", ["a\rb", "a\nb", "a\0b", "a\r\nX: y"])
def test_a_value_or_name_that_would_split_the_head_is_refused(bad):
    headers = Headers(RAW)
    with pytest.raises(ValueError, match="CR, LF or NUL"):
        headers.add("X", bad)
    with pytest.raises(ValueError, match="CR, LF or NUL"):
        headers.add(bad, "x")
    assert list(headers.raw) == RAW


def test_a_refused_set_loses_nothing():
    headers = Headers(RAW)
    with pytest.raises(ValueError, match="CR, LF or NUL"):
        headers.set("host", "a\nb")
    assert headers.get("host") == "a"


def test_values_are_not_shown():
    headers = Headers.of({"Authorization": "Bearer very-secret"})
    assert "very-secret" not in repr(headers)
    assert "Authorization" in repr(headers)


def test_hop_by_hop_fields_are_told_apart_whatever_their_case():
    assert kind_of(b"Transfer-Encoding") == kind_of(b"te") == kind_of(b"CONNECTION") == HOP
    assert kind_of(b"X-Own") == PLAIN


def test_names_that_are_remembered_are_bounded() -> None:
    """A client may send any number of names of 64 KiB each; those that are remembered take 16 MiB at most."""
    most = kind_of.cache_parameters()["maxsize"]
    assert most is not None
    assert most * 65_536 <= 2**24


def test_space_behind_a_name_does_not_hide_what_it_is() -> None:
    """aiohttp's parser keeps it in the names of an endpoint's framing fields, and heeds them (RFC 9112 section 5.1)."""
    assert (kind_of(b"Content-Length "), kind_of(b"Transfer-Encoding  ")) == (LENGTH, HOP)


def parsed(*raw: tuple[bytes, bytes]) -> Headers:
    """As they come from the parser."""
    return received(raw, CIMultiDict([(decode(name), decode(value)) for name, value in raw])).headers()


# --- withhold --------------------------------------------------------------------------------------------------------


def test_withheld_fields_are_gone_for_everybody() -> None:
    """Whatever their case, wherever they stand, once or more; the others stay as they are, and in their order."""
    raw = ((b"A", b"1"), (b"X-Session", b"s"), (b"x-session", b"t"), (b"B", b"2"))
    for headers in (Headers(raw), received(raw, CIMultiDict([("A", "1"), ("X-Session", "s"), ("B", "2")])).headers()):
        headers.append((b"x-request-id", b"r"))
        headers.withhold("X-Session")
        assert list(headers.raw) == [(b"A", b"1"), (b"B", b"2"), (b"x-request-id", b"r")]
        assert headers.get("x-session") is None
        assert "x-session" not in headers
        assert [headers.get(name) for name in ("a", "B", "X-Request-Id")] == ["1", "2", "r"]
        assert b"x-session" not in forwarded(headers).block.lower()
        assert forwarded(headers).block == b"A: 1\r\nB: 2\r\nx-request-id: r\r\n"


def test_what_was_added_can_be_withheld_too() -> None:
    headers = received(((b"A", b"1"),), CIMultiDict([("A", "1")])).headers()
    headers.append((b"X-Session", b"s"))
    headers.withhold("x-session")
    assert list(headers.raw) == [(b"A", b"1")]
    assert forwarded(headers).block == b"A: 1\r\n"


def test_a_field_is_read_and_withheld_at_once() -> None:
    for headers in (parsed((b"X-Session", b"s"), (b"A", b"1")), Headers([(b"x-session", b"s"), (b"A", b"1")])):
        assert headers.take("x-session") == "s"
        assert headers.take("x-session") is None
        assert list(headers) == [("A", "1")]


# --- put -------------------------------------------------------------------------------------------------------------

SAID = Fields([(b"x-model", b"m")], [b"x-model", b"x-route"])


@pytest.mark.parametrize("added", [(), ((b"X-Route", b"old"),), ((b"x-other", b"o"),)])
@pytest.mark.parametrize("shared", [True, False])
def test_fields_take_the_place_of_what_has_their_names(added: tuple[Raw, ...], shared: bool) -> None:
    """Also of those that get nothing in exchange, wherever they stand."""
    raw = ((b"A", b"1"), (b"X-Model", b"old"), (b"X-ROUTE", b"old"), (b"B", b"2"))
    headers = parsed(*raw) if shared else Headers(raw)
    for field in added:
        headers.append(field)
    headers.put(SAID)
    others = [(decode(name), decode(value)) for name, value in added if name == b"x-other"]
    assert list(headers) == [("A", "1"), ("B", "2"), *others, ("x-model", "m")]
    assert headers.get("X-Model") == "m"
    assert "x-route" not in headers
    headers.append((b"x-late", b"l"))
    assert headers.get("x-late") == "l"
