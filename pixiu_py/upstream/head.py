"""The head of an upstream request, made anew for each attempt from the client's fields and the endpoint's own.

Pure. What concerns the client's connection stays behind; of the credentials, the endpoint gets exactly what its
configuration says, and never another endpoint's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from pixiu_py.http.headers import CREDENTIAL, Headers, Raw, encode, kind_of
from pixiu_py.http.received import Shape

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint


class Forwarded(NamedTuple):
    """The part of a client's head that may go on: a ready block of fields, and the credentials apart.

    The fields are in the client's order and spelling, each with its line end.
    """

    block: bytes
    credentials: bytes

    @classmethod
    def of(cls, raw: Iterable[Raw]) -> Forwarded:
        """Leave out what concerns the client's connection."""
        lines: list[bytes] = []
        credentials: list[bytes] = []
        for field in raw:
            kind = kind_of(field[0])
            if kind < CREDENTIAL:
                lines.append(b"%b: %b\r\n" % field)
            elif kind == CREDENTIAL:
                credentials.append(b"%b: %b\r\n" % field)
        return cls(b"".join(lines), b"".join(credentials))

    @classmethod
    def of_shape(cls, shape: Shape, values: tuple[bytes, ...]) -> Forwarded:
        """The same of a head; the greater part is made once for all that have its shape."""
        pattern: Forwarded | None = shape.onward
        if pattern is None:
            pattern = shape.onward = cls.of(shape.raw)
        return cls(pattern.block % values, pattern.credentials % ())


def forwarded(headers: Headers) -> Forwarded:
    """What goes on of these fields. Made once for all requests with the same head, as long as no filter changes them."""
    origin = headers.origin
    if origin is None:
        return Forwarded.of(headers.raw)
    known: Forwarded | None = origin.onward
    if known is None:
        shape = origin.shape
        known = origin.onward = Forwarded.of(origin.raw) if shape is None else Forwarded.of_shape(shape, origin.values)
    if not headers.appended:
        return known
    block, credentials = known
    return Forwarded(block + headers.appended, credentials)


class Own:
    """What requests to one endpoint have in common."""

    __slots__ = ("credentials", "host", "key_header")

    def __init__(self, endpoint: Endpoint) -> None:
        self.host = encode(endpoint.host_header)
        #: The field with its own key; None: it has none.
        self.credentials: bytes | None = None
        #: Name of a header in which this endpoint alone expects its key, or empty.
        self.key_header = b""
        if endpoint.api_key:
            name = encode(endpoint.auth_header)
            value = encode(endpoint.api_key.reveal())
            bearer = name == b"authorization"
            self.credentials = b"Authorization: Bearer %b\r\n" % value if bearer else b"%b: %b\r\n" % (name, value)
            self.key_header = name if kind_of(name) != CREDENTIAL else b""


def own(endpoint: Endpoint) -> Own:
    """The endpoint's ``Own``, made at its first use."""
    made: Own | None = endpoint.onward
    if made is None:
        made = endpoint.onward = Own(endpoint)
    return made


def endpoint_credentials(endpoint: Endpoint, client: bytes) -> bytes:
    """The credential fields for an endpoint: its own key, else the client's own, else nothing."""
    credentials = own(endpoint).credentials
    if credentials is not None:
        return credentials
    return client if endpoint.client_auth == "pass" else b""


def request_head(
    method: str,
    endpoint: Endpoint,
    target: str,
    block: bytes,
    credentials: bytes,
    framing: bytes = b"",
    host: str = "",
) -> bytes:
    """The bytes of a request head. The target is the client's, behind the endpoint's path prefix.

    ``framing`` is the Content-Length, Transfer-Encoding or Upgrade lines of this message, ``host`` what to send in place of
    the endpoint's own Host.
    """
    made = own(endpoint)
    return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%b%b\r\n" % (
        method.encode("ascii"),
        encode(endpoint.path_prefix + target),
        encode(host) if host else made.host,
        _without(made.key_header, block) if made.key_header else block,
        credentials,
        framing,
    )


def _without(name: bytes, block: bytes) -> bytes:
    """The block without the client's idea of a header in which this endpoint alone expects its key."""
    lines = block.split(b"\r\n")
    return b"\r\n".join([line for line in lines if line.partition(b":")[0].lower() != name])
