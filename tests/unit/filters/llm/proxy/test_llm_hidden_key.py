"""A key in an error is hidden wherever it stands, and an error without one is left as it is."""

from __future__ import annotations

import gzip

import pytest

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.config.types import Secret
from pixiu_py.filters.llm.proxy.hidden_key import MOST_UNPACKED, without_key
from pixiu_py.http.headers import Headers, encode

KEY = "sk-very-secret"


def hidden(body: bytes, encoding: str = "", key: str = KEY, reason: str = "No") -> tuple[str, Headers, bytes]:
    endpoint = Endpoint("c", "a", "127.0.0.1", 1)
    endpoint.api_key = Secret(key) if key else None
    fields = [(b"Content-Length", b"%d" % len(body)), (b"X-Told", b"about " + KEY.encode())]
    if encoding:
        fields.append((b"Content-Encoding", encode(encoding)))
    return without_key(endpoint, reason, Headers(fields), body)


@pytest.mark.parametrize("encoding", ["", "gzip", "GZIP", "identity"])
def test_key_is_hidden_in_every_part(encoding: str) -> None:
    """A body that is another one then has another length, and is not packed any more."""
    body = b"wrong: sk-very-secret"
    reason, headers, told = hidden(gzip.compress(body) if "gzip" in encoding.lower() else body, encoding, reason=KEY)
    assert (reason, told) == ("***", b"wrong: ***")
    assert headers.raw == [(b"X-Told", b"about ***")]


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"wrong", ""),
        (gzip.compress(b"wrong"), "gzip"),
        (b"no gzip", "gzip"),
        (b"who knows", "other"),
        (gzip.compress(b"0" * (MOST_UNPACKED + 1)), "gzip"),
        (b"", "gzip"),
    ],
    ids=[
        "plain",
        "packed",
        "not packed",
        "unknown",
        "too large",
        "empty",
    ],  # a packed body tells the time: it is no name
)
def test_body_without_the_key_is_the_same(body: bytes, encoding: str) -> None:
    """Byte for byte and as it was packed, and so is one that cannot be looked through."""
    reason, headers, told = hidden(body, encoding)
    assert (reason, told) == ("No", body)
    assert headers.get("content-length") == str(len(body))
    assert headers.get("content-encoding") == (encoding or None)


def test_endpoint_without_a_key_has_nothing_to_hide() -> None:
    """Its client's own key is the client's."""
    assert hidden(b"wrong: sk-very-secret", key="")[2] == b"wrong: sk-very-secret"
