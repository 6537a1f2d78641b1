"""HTTP calls of the gateway's own: to tokenizers, cache controllers, router models, price lists, issuers of tokens.

Over the same connections as requests, and with bounds for everything: a time for the whole call, bytes of an answer,
calls at a time. No redirect is followed, so a key goes to whom it is for and nowhere else. Every failure is a
``CallFailed``.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import orjson

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.errors import ConnectFailed, PixiuError, PoolExhausted, UpstreamError, UpstreamReset, UpstreamTimeout
from pixiu_py.http.headers import encode
from pixiu_py.upstream.attempt import Timeouts, attempt
from pixiu_py.upstream.head import endpoint_credentials, own
from pixiu_py.upstream.pool import Pools, PoolSettings

if TYPE_CHECKING:
    from pixiu_py.config.types import Secret

#: Bytes of an answer, unless said otherwise. The tokens of a prompt of a million tokens take about 7 MB.
MAX_ANSWER = 32 * 2**20
#: Calls that may wait for others to end.
MOST_WAITING = 1024
#: Idle connections to one service.
_MAX_IDLE = 8
#: Characters of an error's detail that are kept for the log.
_SHOWN = 200
#: What may stand in a request target as it is; ``%`` too: a URL is written in its escaped form.
_UNQUOTED = "%/:=&?~+!$,;'@()*[]"
_FIELDS = b"Accept: application/json\r\nAccept-Encoding: identity\r\nUser-Agent: pixiu-py\r\n"
_JSON = b"Content-Type: application/json\r\nContent-Length: %d\r\n"
#: The time of the whole call is what counts.
_NO_LIMIT = Timeouts(0, 0)


class CallFailed(PixiuError):
    """A call came to nothing; ``status`` is 0 without one.

    ``kind`` is ``connect`` (it never arrived), ``reset``, ``timeout``, ``status``, ``too_large`` or ``answer`` (not to be
    understood), or a word of whoever decided not to call at all.
    """

    def __init__(self, kind: str, detail: str = "", status: int = 0) -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.status = status

    @property
    def may_pass(self) -> bool:
        """True when another try may help, for a question that changes nothing."""
        return self.kind in ("connect", "reset", "timeout")

    @property
    def reason(self) -> str:
        """The kind in a word that names the status, too: ``status_503``."""
        return f"status_{self.status}" if self.kind == "status" else self.kind


class Service(NamedTuple):
    """Where calls go: an endpoint, and what stands before every path there. The endpoint's own key goes along.

    ``Service(endpoint)`` is an engine's root, where its metrics and its tokenizer are; ``api_service(endpoint)`` its API.
    """

    endpoint: Endpoint
    path: str = ""
    #: Further fields of a head, each with its line end.
    fields: bytes = b""

    @property
    def url(self) -> str:
        """Its address, as a name for it."""
        return f"{self.endpoint.scheme or 'http'}://{self.endpoint.address}{self.path}"


def api_service(endpoint: Endpoint) -> Service:
    """The API of an endpoint, behind its prefix."""
    return Service(endpoint, endpoint.path_prefix)


def base_at(url: str, key: Secret | None = None) -> Service:
    """The service whose paths stand behind a URL, whether that ends in a slash or not. See ``service_at``."""
    return service_at(url.strip().rstrip("/"), key)


def service_at(url: str, key: Secret | None = None) -> Service:
    """The service at a URL. ``key`` goes to it as a bearer token; without one, what the URL says of a user does.

    Raises ``ValueError`` for what is no URL.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected a URL that begins with http:// or https://")
    host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode()
    endpoint = Endpoint("", parts.hostname, host, parts.port or (443 if parts.scheme == "https" else 80))
    endpoint.scheme = parts.scheme
    name = f"[{host}]" if ":" in host else host
    endpoint.host_header = f"{name}:{parts.port}" if parts.port else name
    endpoint.api_key = key
    path = quote(f"{parts.path}?{parts.query}" if parts.query else parts.path, safe=_UNQUOTED)
    return Service(endpoint, path, b"" if key else _user(parts.username, parts.password))


def _user(name: str | None, password: str | None) -> bytes:
    if name is None:
        return b""
    pair = f"{unquote(name)}:{unquote(password or '')}".encode()
    return b"Authorization: Basic %b\r\n" % b64encode(pair)


class Client:
    """Makes calls, ``total`` at a time, ``per_service`` to each service (0: no limit but the total). Needs no start.

    A connection is kept for ``idle`` seconds. Most engines' servers close theirs after five: what must not be sent
    twice had better not meet one that is being closed.
    """

    def __init__(self, *, total: int = 100, per_service: int = 0, idle: float = 60.0) -> None:
        settings = PoolSettings(
            keep_alive=idle, max_connections=per_service or total, max_idle=_MAX_IDLE, max_waiting=MOST_WAITING
        )
        self._pools = Pools("http", settings)
        self._places = asyncio.Semaphore(total)
        self._most = total + MOST_WAITING
        self._under_way = 0
        self._closed = False

    async def close(self) -> None:
        """Close every connection. What is under way fails."""
        self._closed = True
        await self._pools.close()

    async def get(self, service: Service, path: str, timeout: float, limit: int = MAX_ANSWER) -> bytes:
        """The body of a good answer, of ``limit`` bytes at most. ``timeout``: seconds for all of it. Raises ``CallFailed``."""
        return await self._call("GET", service, path, b"", timeout, limit, again=True)

    async def post(
        self,
        service: Service,
        path: str,
        document: Any,
        timeout: float,
        limit: int = MAX_ANSWER,
        *,
        again: bool = True,
    ) -> bytes:
        """The same for a document, which is sent as JSON; bytes go as they are.

        ``again``: it does no harm to send it two times, should a kept connection turn out to be closed.
        """
        body = document if isinstance(document, bytes) else orjson.dumps(document)
        return await self._call("POST", service, path, body, timeout, limit, again=again)

    async def ask(self, service: Service, path: str, document: Any, timeout: float, *, again: bool = True) -> Any:
        """What is in the JSON of the answer to a document. See ``post``."""
        return parsed(await self.post(service, path, document, timeout, again=again))

    async def _call(
        self, method: str, service: Service, path: str, body: bytes, timeout: float, limit: int, *, again: bool
    ) -> bytes:
        if self._closed:
            raise CallFailed("connect", "closed")
        if self._under_way >= self._most:
            raise CallFailed("connect", f"{self._under_way} calls are under way already")
        self._under_way += 1
        try:
            async with asyncio.timeout(timeout), self._places:
                pool = self._pools.get(service.endpoint)
                response = await attempt(pool, _head(method, service, path, body), body, _NO_LIMIT, again=again)
                answer = await response.read_all(limit)
        except TimeoutError:
            raise CallFailed("timeout", f"no answer within {timeout:g} s") from None
        except UpstreamError as error:
            raise CallFailed(_kind(error), error.detail) from error
        finally:
            self._under_way -= 1
        if not 200 <= response.status < 300:
            raise CallFailed("status", f"{response.status} {_shown(answer or b'')}", response.status)
        if answer is None:
            raise CallFailed("too_large", f"the answer is larger than {limit} bytes")
        return answer


def parsed(body: bytes) -> Any:
    """The JSON of an answer. Raises ``CallFailed``."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise CallFailed("answer", f"not JSON: {_shown(body)}") from None


def _head(method: str, service: Service, path: str, body: bytes) -> bytes:
    endpoint = service.endpoint
    return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%b%b%b\r\n" % (
        method.encode("ascii"),
        encode(service.path + path) or b"/",
        own(endpoint).host or encode(endpoint.address),
        _FIELDS,
        service.fields,
        endpoint_credentials(endpoint, b""),
        _JSON % len(body) if body else b"",
    )


def _kind(error: UpstreamError) -> str:
    if isinstance(error, ConnectFailed | PoolExhausted) or (
        isinstance(error, UpstreamTimeout) and error.phase == "connect"
    ):
        return "connect"
    return "reset" if isinstance(error, UpstreamReset) else "answer"


def _shown(body: bytes) -> str:
    return body[:_SHOWN].decode("utf-8", "replace")
