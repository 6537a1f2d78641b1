"""What travels: one request, its response, and all that is known about them. Per-request state lives nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import orjson

from pixiu_py.errors import BodyTooLarge, DownstreamError, UnsupportedEncoding
from pixiu_py.http.headers import Headers
from pixiu_py.http.inflate import Inflater, UnreadableError

if TYPE_CHECKING:
    from pixiu_py.clusters.cluster import Cluster
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.http.body import Body, RequestBody
    from pixiu_py.http.connection import DownstreamConnection
    from pixiu_py.routing.table import CompiledRoute

#: Default limit of a request body that some filter has to read whole.
MAX_BUFFERED_BODY = 32 * 2**20

_UNPARSED = object()


class Request:
    """The client's request. ``target`` is as the client wrote it; ``path`` and ``query`` are its undecoded halves."""

    __slots__ = (
        "_json",
        "body",
        "client_address",
        "headers",
        "method",
        "path",
        "query",
        "scheme",
        "target",
        "upgrade",
        "version",
    )

    def __init__(self, method: str, target: str, headers: Headers, body: RequestBody) -> None:
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition("?")
        self.headers = headers
        self.body = body
        self.version = (1, 1)
        self.scheme = "http"
        #: Address of the peer that opened the connection, without port; empty for a Unix socket.
        self.client_address = ""
        #: Protocol the client wants to switch to (``websocket``), or empty.
        self.upgrade = ""
        self._json: Any = _UNPARSED

    @property
    def decoded_path(self) -> str:
        """The path with percent-escapes resolved, for matching only."""
        return unquote(self.path) if "%" in self.path else self.path

    def cookie(self, name: str) -> str | None:
        """The value of one cookie."""
        for line in self.headers.getall("cookie"):
            for pair in line.split(";"):
                key, _, value = pair.strip().partition("=")
                if key == name:
                    return value
        return None

    async def content(self, limit: int) -> bytes:
        """The whole body without its Content-Encoding. It goes on like that: what was read may be changed, too.

        Raises ``UnsupportedEncoding``, ``BodyTooLarge``, or ``DownstreamError`` when it is not what it claims to be; the
        body is then as the client sent it.
        """
        content = await self.body.read(limit)
        encoding = ", ".join(self.headers.getall("content-encoding")) if "content-encoding" in self.headers else ""
        if encoding:
            content = _inflated(content, encoding, limit)
            self.body.replace(content)
            self.headers.remove("content-encoding")
        return content

    async def json(self, limit: int = MAX_BUFFERED_BODY) -> Any:
        """The ``content`` as JSON, parsed once. Raises what that raises, and ``DownstreamError`` when it is not JSON."""
        if self._json is _UNPARSED:
            content = await self.content(limit)
            try:
                self._json = orjson.loads(content)
            except orjson.JSONDecodeError:
                raise DownstreamError("the request body is not valid JSON") from None
        return self._json

    @property
    def parsed(self) -> Any:
        """The body as JSON if ``json()`` has been awaited with success, else None."""
        return None if self._json is _UNPARSED else self._json


def _inflated(content: bytes, encoding: str, limit: int) -> bytes:
    try:
        inflater = Inflater(encoding, limit)
        plain = inflater.feed(content)
    except UnreadableError as error:
        if error.reason == "encoding":
            raise UnsupportedEncoding("the Content-Encoding of the request body is not known here") from None
        if error.reason == "too_large":
            raise BodyTooLarge(f"request body is above the limit of {limit} bytes when decompressed") from None
        raise DownstreamError("the request body does not have the Content-Encoding that it names") from None
    if not inflater.finished:
        raise DownstreamError("the request body breaks off within its Content-Encoding")
    return plain


class Response:
    """A response on its way to the client. ``body`` is bytes, or a ``Body`` that is produced while it is sent."""

    __slots__ = ("body", "headers", "reason", "status")

    def __init__(self, status: int, headers: Headers | None = None, body: bytes | Body = b"", reason: str = "") -> None:
        self.status = status
        self.headers = headers if headers is not None else Headers()
        self.body = body
        #: Reason phrase; empty: the usual one.
        self.reason = reason

    @classmethod
    def json(cls, status: int, document: Any) -> Response:
        """A JSON response."""
        return cls(status, Headers([(b"Content-Type", b"application/json")]), orjson.dumps(document))


@dataclass(slots=True)
class Attempt:
    """One try at one endpoint. ``status`` is 0 when no response head came; ``error`` is empty on success."""

    endpoint_id: str
    address: str
    cluster: str
    status: int = 0
    error: str = ""
    seconds: float = 0.0
    model: str = ""

    @property
    def success(self) -> bool:
        """True for an answer that was handed to the client."""
        return not self.error


class Exchange:
    """A request, its response, its route and its history. Times are monotonic seconds; 0 means not yet."""

    __slots__ = (
        "attempts",
        "bytes_sent",
        "cluster",
        "connection",
        "end_reason",
        "endpoint",
        "entered",
        "error",
        "first_byte",
        "listener",
        "params",
        "path_values",
        "request",
        "request_id",
        "response",
        "route",
        "started",
        "status",
    )

    def __init__(self, request: Request, started: float, listener: str = "") -> None:
        self.request = request
        self.listener = listener
        self.started = started
        self.first_byte = 0.0
        self.request_id = ""
        #: The client's connection, for the one who takes it over after an upgrade.
        self.connection: DownstreamConnection | None = None
        self.route: CompiledRoute[Any] | None = None
        self.cluster: Cluster | None = None
        #: The endpoint that serves it now.
        self.endpoint: Endpoint | None = None
        #: Values of ``:name`` segments of the route's path.
        self.path_values: dict[str, str] = {}
        self.response: Response | None = None
        self.attempts: list[Attempt] = []
        #: What filters tell each other; new for each exchange.
        self.params: dict[str, Any] = {}
        #: Filters whose decode has been called; their encode and done will be.
        self.entered = 0
        #: Status that went to the client; 0 if none did.
        self.status = 0
        #: Body bytes that went to the client.
        self.bytes_sent = 0
        #: Why it ended: ``complete``, ``client_gone``, ``truncated``, or the kind of the error.
        self.end_reason = ""
        self.error: BaseException | None = None
