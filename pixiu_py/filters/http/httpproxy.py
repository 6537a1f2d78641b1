"""``dgp.filter.http.httpproxy``: any HTTP/1.1 traffic, bodies streamed both ways, upgrades tunnelled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, ClassVar

from pixiu_py.config.types import Duration, Size, doc
from pixiu_py.errors import ConnectFailed, DownstreamError, GatewayError, PixiuError, PoolExhausted, UpstreamTimeout
from pixiu_py.filters.proxy import UPSTREAM_HOST, ProxyConfig, ProxyFilter, TimedBody, no_endpoint
from pixiu_py.http.exchange import Attempt, Response
from pixiu_py.http.headers import encode
from pixiu_py.http.tunnel import TunnelBody
from pixiu_py.http.upload import pipe_body, room_or_gone
from pixiu_py.registry import Family, plugin
from pixiu_py.upstream.attempt import attempt
from pixiu_py.upstream.head import Forwarded, endpoint_credentials, forwarded, request_head
from pixiu_py.upstream.order import first_endpoint, next_endpoint

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.http.body import RequestBody, Sink
    from pixiu_py.http.connection import DownstreamConnection
    from pixiu_py.http.exchange import Exchange, Request
    from pixiu_py.upstream.connection import UpstreamConnection
    from pixiu_py.upstream.response import UpstreamResponse


class HttpProxyConfig(ProxyConfig, frozen=True):
    """Keys of ``dgp.filter.http.httpproxy``."""

    forwarded_headers: Annotated[bool, doc("Add X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host.")] = True
    replay_limit: Annotated[
        Size, doc("Bodies up to this size are read before they are sent, so that they may go over a kept connection.")
    ] = 65536
    tunnel_idle_timeout: Annotated[Duration, doc("Longest silence of an upgraded connection.")] = 3600.0


@plugin(Family.HTTP_FILTER, "dgp.filter.http.httpproxy")
class HttpProxy(ProxyFilter):
    """Forwards requests to the route's cluster: any method, streaming both ways, WebSocket."""

    Config: ClassVar[type[HttpProxyConfig]] = HttpProxyConfig

    async def decode(self, exchange: Exchange) -> Response:
        """Call an endpoint; only when no connection could be made, so that nothing was sent, the next one."""
        if not self.config.timeout:
            return await self._forward(exchange)
        deadline = exchange.started + self.config.timeout
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._forward(exchange)
        except TimeoutError:
            raise UpstreamTimeout("total") from None
        if response.status != 101 and not isinstance(response.body, bytes):
            response.body = TimedBody(response.body, deadline)
        return response

    async def _forward(self, exchange: Exchange) -> Response:
        cluster = self.cluster(exchange)
        candidates = cluster.candidates("")
        now = self.context.clock()
        endpoint = first_endpoint(candidates, None, cluster.pick(exchange), now)
        if endpoint is None:
            raise no_endpoint(exchange, "no endpoint is available")
        onward = forwarded(exchange.request.headers)
        tried = {endpoint}
        while True:
            try:
                return await self._attempt(exchange, endpoint, onward)
            except (ConnectFailed, PoolExhausted, UpstreamTimeout) as error:
                following = next_endpoint(candidates, endpoint, tried, now)
                if following is None or (isinstance(error, UpstreamTimeout) and error.phase != "connect"):
                    raise
                endpoint = following
                tried.add(endpoint)

    async def _attempt(self, exchange: Exchange, endpoint: Endpoint, onward: Forwarded) -> Response:
        record = Attempt(endpoint.id, endpoint.address, endpoint.cluster)
        exchange.attempts.append(record)
        self.take(exchange, endpoint)
        started = self.context.clock()
        try:
            upstream, body = await self._send(exchange, endpoint, onward)
        except BaseException as error:
            record.error = error.kind if isinstance(error, GatewayError) else "cancelled"
            self.leave(exchange)
            raise
        finally:
            record.seconds = self.context.clock() - started
        record.status = upstream.status
        return Response(upstream.status, upstream.headers, body, upstream.reason)

    async def _send(
        self, exchange: Exchange, endpoint: Endpoint, onward: Forwarded
    ) -> tuple[UpstreamResponse, UpstreamResponse | UploadingBody | TunnelBody]:
        request = exchange.request
        pool = self.pools.get(endpoint)
        body = request.body
        with_body = request.method != "HEAD"
        if request.upgrade and not body.exists:  # else it is passed on without: an upgrade is an offer (RFC 9110 §7.8)
            connection = await pool.connect()
            framing = b"Connection: Upgrade\r\nUpgrade: %b\r\n" % encode(request.upgrade)
            connection.send(self._head(exchange, endpoint, onward, framing), with_body=with_body)
            response = await connection.response(self.timeouts.first_byte, self.timeouts.idle)
            if response.status == 101 and exchange.connection is not None:
                return response, TunnelBody(connection, exchange.connection, self.config.tunnel_idle_timeout)
            return response, response
        if not body.exists or (body.length is not None and body.length <= self.config.replay_limit):
            content = await body.read(self.config.replay_limit) if body.exists else b""
            head = self._head(exchange, endpoint, onward, _length_line(request, len(content)))
            response = await attempt(pool, head, content, self.timeouts, with_body=with_body)
            return response, response
        # A body that cannot be sent twice goes over a new connection: a kept one may turn out to be closed.
        connection = await pool.connect()
        framing = b"Transfer-Encoding: chunked\r\n" if body.length is None else b"Content-Length: %d\r\n" % body.length
        connection.send(self._head(exchange, endpoint, onward, framing), with_body=with_body, uploading=True)
        upload = self.context.tasks.spawn(_upload(connection, body, exchange.connection), "upload")
        try:
            response = await connection.response(self.timeouts.first_byte, self.timeouts.idle)
        except BaseException:
            upload.cancel()
            raise
        return response, UploadingBody(response, upload)

    def _head(self, exchange: Exchange, endpoint: Endpoint, onward: Forwarded, framing: bytes) -> bytes:
        request = exchange.request
        block, credentials = onward
        if self.config.forwarded_headers:
            block += self._forwarded_fields(request)
        credentials = endpoint_credentials(endpoint, credentials)
        host = exchange.params.get(UPSTREAM_HOST, "")
        return request_head(request.method, endpoint, request.target, block, credentials, framing, host)

    def _forwarded_fields(self, request: Request) -> bytes:
        """Repeated fields make one list (RFC 9110 §5.3), so the client's own X-Forwarded-For stays in front of ours."""
        host = request.headers.get("host") or ""
        return b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n" % (
            encode(request.client_address or "unknown"),
            encode(request.scheme),
            encode(host),
        )


class UploadingBody:
    """A response that began while its request was still being sent."""

    def __init__(self, response: UpstreamResponse, upload: asyncio.Task[None]) -> None:
        self._response = response
        self._upload = upload
        self.length = response.length

    async def pipe(self, sink: Sink) -> None:
        """See ``Body.pipe``. The upload ends with the response: nobody reads the rest of it."""
        try:
            await self._response.pipe(sink)
        finally:
            self._upload.cancel()

    def abort(self) -> None:
        """See ``Body.abort``."""
        self._upload.cancel()
        self._response.abort()


def _length_line(request: Request, length: int) -> bytes:
    """Content-Length where it tells something: a POST without a body has length 0, a GET has none (RFC 9110 §8.6)."""
    if length or request.method in ("POST", "PUT", "PATCH"):
        return b"Content-Length: %d\r\n" % length
    return b""


async def _upload(connection: UpstreamConnection, body: RequestBody, downstream: DownstreamConnection | None) -> None:
    """Send a request body as it comes. A fault of the client's ends the whole attempt."""
    try:
        if body.length is not None and body.peek() is None and downstream is not None:
            await pipe_body(body, downstream, connection)
        else:
            await _upload_pieces(connection, body, downstream)
    except DownstreamError as error:
        connection.fail(error)
    except PixiuError:
        return  # the connection is gone; whoever waits for the response is told by the connection itself
    else:
        connection.uploaded()


async def _upload_pieces(
    connection: UpstreamConnection, body: RequestBody, downstream: DownstreamConnection | None
) -> None:
    """Send a body whose end nobody knows beforehand, or that a filter has read."""
    chunked = body.length is None
    async for chunk in body.stream():
        if not connection.write_body(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk):
            await room_or_gone(connection, downstream)
    if chunked:
        await connection.upload(b"0\r\n\r\n")
