"""An endpoint's key is no business of its clients: errors that repeat it are told without it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixiu_py.http.headers import Headers
from pixiu_py.http.inflate import Inflater, UnreadableError

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint

#: A key of fewer letters and nothing else, such as EMPTY or none, is no secret, and might be any word of an answer.
SHORTEST_WORD = 8
#: Of a compressed body no more than this is looked through.
MOST_UNPACKED = 16 * 2**20
_HIDDEN = b"***"


def without_key(endpoint: Endpoint, reason: str, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
    """Reason, fields and body without the endpoint's key; the same body and fields where it is not in them.

    A compressed body with the key in it comes back unpacked.
    """
    secret = endpoint.api_key.reveal() if endpoint.api_key else ""
    if not secret or (secret.isalpha() and len(secret) < SHORTEST_WORD):
        return reason, headers, body
    reason = reason.replace(secret, _HIDDEN.decode())
    key = secret.encode()
    if any(key in value for _, value in headers.raw):
        headers = Headers([(name, value.replace(key, _HIDDEN)) for name, value in headers.raw])
    plain = _unpacked(body, headers.get("content-encoding") or "")
    if key not in plain:
        return reason, headers, body
    headers = headers.copy()
    headers.remove("content-encoding", "content-length")
    return reason, headers, plain.replace(key, _HIDDEN)


def _unpacked(body: bytes, encoding: str) -> bytes:
    """What a body says, as far as that can be read."""
    if not encoding:
        return body
    try:
        return Inflater(encoding, MOST_UNPACKED).feed(body)
    except UnreadableError:
        return body
