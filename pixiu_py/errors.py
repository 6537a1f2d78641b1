"""The one exception tree.

``ConfigError`` and ``PluginError`` stop a start and never reach a request. ``GatewayError`` is what can go wrong with a
request: it says which side is at fault, what to answer and whether another try may help. Foreign exceptions (sockets,
TLS, aiohttp's parsers) are turned into these at one edge, ``upstream/protocol.py`` and ``http/body.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class PixiuError(Exception):
    """Base of everything this package raises on purpose."""


# --- before a request: configuration and plugins ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration file. ``line`` and ``column`` count from 1; 0 means unknown."""

    path: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        parts = [part for part in (place, self.path, self.message) if part]
        return ": ".join(parts)


class ConfigError(PixiuError):
    """The configuration cannot be used. Carries every problem found, not the first only."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class PluginError(PixiuError):
    """A plugin cannot be imported or registered. The message starts with its file and line."""


class StartError(PixiuError):
    """The gateway cannot start for a reason outside its configuration, such as a port in use."""


# --- during a request ------------------------------------------------------------------------------------------------


class Side(Enum):
    """Who is at fault: the client, this gateway, or the endpoint."""

    DOWNSTREAM = "downstream"
    LOCAL = "local"
    UPSTREAM = "upstream"


class GatewayError(PixiuError):
    """A request that cannot go on. ``status`` is what the client is told; ``detail`` never names an address or a key."""

    status = 500
    side = Side.LOCAL
    #: Short machine-readable name for logs, metrics and attempt records.
    kind = "internal_error"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.kind)
        self.detail = detail


class DownstreamError(GatewayError):
    """The client's request is at fault, or the client has gone."""

    status = 400
    side = Side.DOWNSTREAM
    kind = "bad_request"


class MethodNotAllowed(DownstreamError):
    """The method is not offered here."""

    status = 405
    kind = "method_not_allowed"


class BodyTooLarge(DownstreamError):
    """The request body is above the limit of the filter that has to buffer it."""

    status = 413
    kind = "body_too_large"


class UnsupportedEncoding(DownstreamError):
    """The request body has a Content-Encoding that cannot be undone here, and would have to be."""

    status = 415
    kind = "unsupported_encoding"


class HeadersTooLarge(DownstreamError):
    """The request head is above the listener's limit."""

    status = 431
    kind = "headers_too_large"


class BodyTimeout(DownstreamError):
    """The client stopped sending its body."""

    status = 408
    kind = "body_timeout"


class ClientGone(DownstreamError):
    """The client closed its connection, or stopped reading for longer than it may."""

    status = 499
    kind = "client_gone"


class NoRoute(GatewayError):
    """No route matches."""

    status = 404
    side = Side.DOWNSTREAM
    kind = "no_route"


class Denied(GatewayError):
    """A filter refused the request."""

    status = 403
    side = Side.DOWNSTREAM
    kind = "denied"


class NoEndpoint(GatewayError):
    """The cluster has no endpoint that could be tried."""

    status = 503
    side = Side.UPSTREAM
    kind = "no_endpoint"


class UpstreamError(GatewayError):
    """An endpoint failed."""

    status = 502
    side = Side.UPSTREAM
    kind = "upstream_error"


class ConnectFailed(UpstreamError):
    """No connection could be made: refused, unreachable, name not found, TLS failed."""

    kind = "connect_failed"


class PoolExhausted(UpstreamError):
    """All connections to the endpoint were busy for as long as a request may wait for one."""

    status = 503
    kind = "pool_exhausted"


class UpstreamTimeout(UpstreamError):
    """An endpoint was too slow. ``phase`` is one of ``connect``, ``first_byte``, ``idle``, ``total``."""

    status = 504
    kind = "timeout"

    def __init__(self, phase: str) -> None:
        super().__init__(f"upstream timed out ({phase})")
        self.phase = phase
        self.kind = f"timeout_{phase}"


class UpstreamReset(UpstreamError):
    """The connection broke. ``bytes_seen`` tells whether any part of the response had arrived by then."""

    kind = "reset"

    def __init__(self, detail: str = "upstream closed the connection", *, bytes_seen: bool = False) -> None:
        super().__init__(detail)
        self.bytes_seen = bytes_seen


class UpstreamProtocolError(UpstreamError):
    """The endpoint's answer is not HTTP, or breaks HTTP's rules."""

    kind = "protocol_error"


class StreamTruncated(UpstreamError):
    """The response ended cleanly for HTTP, yet before its own end: no ``[DONE]``, no final event."""

    kind = "truncated"
