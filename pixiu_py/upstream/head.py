"""The head of an upstream request, made anew for each attempt from the client's fields and the endpoint's own.

Pure. What concerns the client's connection stays behind; of the credentials, the endpoint gets exactly what its
configuration says, and never another endpoint's.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from pixiu_py.http.headers import CREDENTIAL, Raw, encode, kind_of

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint


class Forwarded:
    """The part of a client's head that may go on: a ready block of fields, and the credentials apart."""

    __slots__ = ("block", "credentials")

    def __init__(self, raw: Collection[Raw]) -> None:
        lines: list[bytes] = []
        credentials: list[bytes] = []
        for field in raw:
            kind = kind_of(field[0])
            if kind < CREDENTIAL:
                lines.append(b": ".join(field))
            elif kind == CREDENTIAL:
                credentials.append(b": ".join(field))
        lines.append(b"")
        credentials.append(b"")
        #: Fields in the client's order and spelling, each with its line end.
        self.block = b"\r\n".join(lines)
        #: The client's credentials, in the same form.
        self.credentials = b"\r\n".join(credentials)


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
        _without_own(endpoint, block),
        credentials,
        framing,
    )


def _without_own(endpoint: Endpoint, block: bytes) -> bytes:
    """The block without the client's idea of a header in which this endpoint alone expects its key."""
    name = encode(endpoint.auth_header)
    if not endpoint.api_key or kind_of(name) == CREDENTIAL:
        return block
    lines = block.split(b"\r\n")
    return b"\r\n".join([line for line in lines if line.partition(b":")[0].lower() != name])
