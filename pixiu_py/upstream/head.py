"""The head of an upstream request, made anew for each attempt from the client's fields and the endpoint's own.

Pure. What concerns the client's connection stays behind; of the credentials, the endpoint gets exactly what its
configuration says, and never another endpoint's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pixiu_py.http.headers import HOP_BY_HOP, Raw, connection_named, encode

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint

#: Fields in which clients present themselves; an endpoint's own key goes into one of them.
CREDENTIALS = frozenset((b"authorization", b"x-api-key", b"api-key"))
#: Fields that are written anew: they describe this hop's message.
_REWRITTEN = frozenset((b"host", b"content-length", b"expect"))
_DROPPED = HOP_BY_HOP | _REWRITTEN
#: Values of Connection that name no field; they need no second look.
_PLAIN_CONNECTION = frozenset((b"keep-alive", b"close", b"Keep-Alive", b"Close", b"upgrade", b"Upgrade"))


class Forwarded:
    """The part of a client's head that may go on: a ready block of fields, and the credentials apart."""

    __slots__ = ("block", "credentials")

    def __init__(self, raw: Iterable[Raw]) -> None:
        parts: list[bytes] = []
        credentials: list[bytes] = []
        named: frozenset[bytes] | set[bytes] = frozenset()
        fields = raw if isinstance(raw, (list, tuple)) else list(raw)
        for key, value in fields:
            if len(key) == 10 and key.lower() == b"connection" and value not in _PLAIN_CONNECTION:
                named = connection_named(fields)
                break
        for key, value in fields:
            lower = key.lower()
            if lower in _DROPPED or lower in named:
                continue
            (credentials if lower in CREDENTIALS else parts).append(b"%b: %b\r\n" % (key, value))
        #: Fields in the client's order and spelling, each with its line end.
        self.block = b"".join(parts)
        #: The client's credentials, in the same form.
        self.credentials = b"".join(credentials)


def endpoint_credentials(endpoint: Endpoint, client: bytes) -> bytes:
    """The credential fields for an endpoint: its own key, else the client's own, else nothing."""
    if endpoint.api_key:
        key = encode(endpoint.api_key.reveal())
        if endpoint.auth_header == "authorization":
            return b"Authorization: Bearer %b\r\n" % key
        return b"%b: %b\r\n" % (encode(endpoint.auth_header), key)
    return client if endpoint.client_auth == "pass" else b""


def upstream_target(endpoint: Endpoint, target: str) -> bytes:
    """The request target at an endpoint: the client's, behind the endpoint's path prefix."""
    return encode(endpoint.path_prefix + target if endpoint.path_prefix else target)


def request_head(
    method: str,
    endpoint: Endpoint,
    target: str,
    block: bytes,
    credentials: bytes,
    framing: bytes = b"",
    host: str = "",
) -> bytes:
    """The bytes of a request head.

    ``framing`` is the Content-Length, Transfer-Encoding or Upgrade lines of this message, ``host`` what to send in place of
    the endpoint's own Host.
    """
    return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%b%b\r\n" % (
        method.encode("ascii"),
        upstream_target(endpoint, target),
        encode(host or endpoint.host_header),
        block,
        credentials,
        framing,
    )
