"""HTTP calls of the router's own, over the same connections as requests: always a time limit, always a size limit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.errors import PixiuError, UpstreamError
from pixiu_py.http.headers import encode
from pixiu_py.upstream.attempt import Timeouts, attempt
from pixiu_py.upstream.head import endpoint_credentials, request_head
from pixiu_py.upstream.pool import Pools, PoolSettings

if TYPE_CHECKING:
    from pixiu_py.config.types import Secret

_FIELDS = b"Accept: application/json\r\nUser-Agent: pixiu-py\r\n"
_JSON = b"Content-Type: application/json\r\nContent-Length: %d\r\n"


class CallFailed(PixiuError):
    """A call came to nothing. ``kind`` is short: ``timeout``, ``status_503``, ``too_large``, or an ``UpstreamError``'s."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(detail or kind)
        self.kind = kind


class Caller:
    """Keeps the connections."""

    def __init__(self, max_connections: int = 64, max_waiting: int = 1024) -> None:
        settings = PoolSettings(max_connections=max_connections, max_idle=8, max_waiting=max_waiting)
        self._pools = Pools("http", settings)

    async def close(self) -> None:
        """Close every connection."""
        await self._pools.close()

    async def get(self, endpoint: Endpoint, target: str, timeout: float, limit: int) -> bytes:
        """The body of a good answer. ``timeout`` is the time for all of it. Raises ``CallFailed``."""
        return await self._call("GET", endpoint, target, b"", timeout, limit)

    async def post(self, endpoint: Endpoint, target: str, document: bytes, timeout: float, limit: int) -> bytes:
        """The body of a good answer to a JSON document. Raises ``CallFailed``."""
        return await self._call("POST", endpoint, target, document, timeout, limit)

    async def _call(
        self, method: str, endpoint: Endpoint, target: str, body: bytes, timeout: float, limit: int
    ) -> bytes:
        framing = _JSON % len(body) if body else b""
        head = request_head(method, endpoint, target, _FIELDS, endpoint_credentials(endpoint, b""), framing)
        try:
            async with asyncio.timeout(timeout):
                response = await attempt(self._pools.get(endpoint), head, body, Timeouts(0, 0))
                answer = await response.read_all(limit)
        except TimeoutError:
            raise CallFailed("timeout", f"no answer within {timeout:g} s") from None
        except UpstreamError as error:
            raise CallFailed(error.kind, error.detail) from error
        if not 200 <= response.status < 300:
            raise CallFailed(f"status_{response.status}", (answer or b"")[:200].decode("utf-8", "replace"))
        if answer is None:
            raise CallFailed("too_large", f"the answer is larger than {limit} bytes")
        return answer


def split_url(url: str, key: Secret | None = None) -> tuple[Endpoint, str]:
    """The endpoint at a URL, and the target that the URL names there. ``key`` goes to it as a bearer token."""
    parts = urlsplit(url)
    endpoint = Endpoint("", parts.netloc, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    endpoint.scheme = parts.scheme
    endpoint.host_header = parts.netloc
    endpoint.api_key = key
    target = parts.path or "/"
    return endpoint, encode(f"{target}?{parts.query}" if parts.query else target).decode("latin-1")
