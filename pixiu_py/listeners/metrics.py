"""The port of ``metric.prometheus_port``: an HTTP listener whose only page is ``/metrics``."""

from __future__ import annotations

import errno
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog

from pixiu_py.config.model import Address, HttpServerConfig, SocketAddress
from pixiu_py.config.model import Listener as ListenerConfig
from pixiu_py.errors import ClientGone, StartError
from pixiu_py.filters.chain import FilterChain
from pixiu_py.http.body import RequestBody
from pixiu_py.http.exchange import Exchange, Request, Response
from pixiu_py.http.headers import Headers
from pixiu_py.http.local_reply import local_reply
from pixiu_py.http.writer import ResponseWriter
from pixiu_py.listeners.http import HttpListener
from pixiu_py.observability.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from pixiu_py.config.model import Metric
    from pixiu_py.filters.base import Context
    from pixiu_py.http.connection import RawRequest

log = structlog.get_logger("pixiu_py.metrics")

PATH = "/metrics"
#: Connections at a time; a scraper needs one.
MAX_CONNECTIONS = 64
#: Workers share no counters, so each has a port of its own: the first free one from the configured on.
MAX_PORTS = 1024

_NO_FILTERS = FilterChain(())


class MetricsListener(HttpListener):
    """Serves the metrics of one gateway. Its requests are in no log and no count."""

    def __init__(self, metric: Metric, context: Context) -> None:
        self._metric = metric
        super().__init__(self._at(metric.prometheus_port), MetricsPage(context), context)

    def _at(self, port: int) -> ListenerConfig:
        return ListenerConfig(
            name="metrics",
            address=Address(socket_address=SocketAddress(address=self._metric.address, port=port)),
            config=HttpServerConfig(max_connections=MAX_CONNECTIONS),
        )

    async def start(self, *, reuse_port: bool = False) -> None:
        """See ``Listener.start``. One of several workers (``reuse_port``) takes the first port that is free."""
        first = self._metric.prometheus_port
        last = min(first + MAX_PORTS, 65535) if reuse_port and first else first
        for port in range(first, last + 1):
            self.config = self._at(port)
            try:
                return await super().start()
            except StartError as error:
                in_use = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE
                if not in_use or port == last:
                    raise
        return None


class MetricsPage:
    """The network filter behind the port: answers every request itself."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.draining = False

    async def start(self) -> None:
        """See ``NetworkFilter.start``."""

    async def close(self) -> None:
        """See ``NetworkFilter.close``."""

    async def handle(self, raw: RawRequest) -> bool:
        """See ``NetworkFilter.handle``."""
        head = raw.head
        body = RequestBody(raw.payload, 0, HttpServerConfig().read_timeout)
        request = Request(head.method, head.target, head.headers(), body)
        request.version = head.version
        exchange = Exchange(request, self._context.clock())
        keep_alive = head.keeps_alive and not self.draining
        writer = ResponseWriter(raw.protocol, exchange, HttpServerConfig().write_timeout, keep_alive)
        try:
            await writer.send(self.answer(request), _NO_FILTERS)
        except ClientGone:
            return False
        return writer.keep_alive

    def answer(self, request: Request) -> Response:
        """The page, or why not."""
        if request.path != PATH:
            return local_reply(HTTPStatus.NOT_FOUND, f"the only page here is {PATH}")
        if request.method not in ("GET", "HEAD"):
            return local_reply(HTTPStatus.METHOD_NOT_ALLOWED, "", Headers.of({"Allow": "GET, HEAD"}))
        try:
            page = self._context.metrics.render()
        except Exception:  # a fault in a plugin's reader
            log.exception("metrics cannot be read")
            return local_reply(HTTPStatus.INTERNAL_SERVER_ERROR)
        return Response(HTTPStatus.OK, Headers.of({"Content-Type": CONTENT_TYPE}), page)
