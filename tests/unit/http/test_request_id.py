"""The id of a request: the client's own if it can do no harm, else a new one."""

from __future__ import annotations

import re

import pytest

from pixiu_py.http.headers import Headers
from pixiu_py.http.request_id import request_id


@pytest.mark.parametrize("own", ["a", "550e8400-e29b-41d4-a716-446655440000", "a.b_c:d/e+f=g-h", "x" * 128])
def test_decent_id_is_kept(own: str) -> None:
    """It may be known elsewhere."""
    headers = Headers.of({"X-Request-ID": own, "X-A": "1"})
    assert request_id(headers) == own
    assert headers.getall("x-request-id") == [own]
    assert headers.raw[0] == (b"X-Request-ID", own.encode())


@pytest.mark.parametrize("own", ["", "x" * 129, "a b", 'a"b', "a\tb", "é", "a\udce9", "{}", "a\n"])
def test_other_id_is_replaced(own: str) -> None:
    """It ends up in logs and in other services: it has to be short and plain."""
    headers = Headers([(b"x-request-id", own.encode("utf-8", "surrogateescape"))])
    made = request_id(headers)
    assert re.fullmatch("[0-9a-f]{32}", made)
    assert headers.getall("x-request-id") == [made]


def test_missing_id_is_made_and_goes_on() -> None:
    """The endpoint sees it too; each request has its own."""
    headers = Headers.of({"X-A": "1"})
    made = request_id(headers)
    assert headers.getall("x-request-id") == [made]
    assert request_id(Headers()) != request_id(Headers())
