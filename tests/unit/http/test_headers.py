"""Rules of header fields: raw bytes survive, names have no case, nothing splits the head."""

from __future__ import annotations

import pytest

from pixiu_py.http.headers import (
    CONNECTION,
    HOP,
    PLAIN,
    Headers,
    decode,
    encode,
    kind_of,
    names_fields,
    without_named,
)

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
    assert kind_of(b"Transfer-Encoding") == kind_of(b"te") == kind_of(b"Proxy-Authorization") == HOP
    assert kind_of(b"CONNECTION") == CONNECTION
    assert kind_of(b"X-Own") == PLAIN


def test_connection_names_fields_only_beside_its_own_options():
    assert not names_fields(b"Keep-Alive, close")
    assert names_fields(b"close, X-Hop")


def test_fields_that_connection_names_do_not_pass():
    raw = [
        (b"connection", b"close, X-Hop"),
        (b"x-hop", b"1"),
        (b"Connection", b"x-other"),
        (b"X-Other", b"2"),
        (b"A", b"1"),
    ]
    lines = [b"x-hop: 1", b"X-Other: 2", b"A: 1"]
    assert without_named(lines, raw) == [b"A: 1"]
