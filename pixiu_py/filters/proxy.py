"""What every proxy filter has: its pools, its time limits, its cluster, and the count of what is in flight."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from msgspec import Meta

from pixiu_py.config.types import Duration, Model, doc
from pixiu_py.errors import NoEndpoint, UpstreamError, UpstreamTimeout
from pixiu_py.filters.base import Context, HttpFilter
from pixiu_py.upstream.attempt import Timeouts
from pixiu_py.upstream.pool import Pools, PoolSettings

if TYPE_CHECKING:
    from pixiu_py.clusters.cluster import Cluster
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.http.body import Body, Sink
    from pixiu_py.http.exchange import Exchange

#: Key in ``exchange.params`` under which a filter may name the Host to send upstream.
UPSTREAM_HOST = "upstream_host"

_Limit = Annotated[int, Meta(ge=0)]


class ProxyConfig(Model, frozen=True):
    """Keys of every proxy filter; the spelling of the first five is Pixiu's."""

    scheme: Annotated[
        str, Meta(pattern="(?i)^ *(http|https) *$", description="http or https; an endpoint's own scheme wins.")
    ] = "http"
    timeout: Annotated[Duration, doc("Total time of an exchange, its body included; 0: none.")] = 0.0
    maxIdleConns: Annotated[_Limit, doc("Accepted; the limit per endpoint is what counts.")] = 0  # noqa: N815
    maxIdleConnsPerHost: Annotated[_Limit, doc("Idle connections kept per endpoint; 0: all.")] = 0  # noqa: N815
    maxConnsPerHost: Annotated[_Limit, doc("Connections per endpoint; 0: 1024.")] = 0  # noqa: N815
    max_waiting: Annotated[_Limit, doc("Requests that may wait for a connection, per endpoint.")] = 1024
    connect_timeout: Annotated[Duration, doc("Time to get a connection.")] = 5.0
    first_byte_timeout: Annotated[Duration, doc("Time until the response head arrives; 0: none.")] = 600.0
    idle_timeout: Annotated[Duration, doc("Longest silence within a response; 0: none.")] = 300.0
    keep_alive: Annotated[Duration, doc("An idle upstream connection is closed after this.")] = 60.0

    def pool_settings(self) -> PoolSettings:
        """The limits of this filter's pools."""
        connections = self.maxConnsPerHost or 1024
        return PoolSettings(
            connect_timeout=self.connect_timeout,
            keep_alive=self.keep_alive,
            max_connections=connections,
            max_idle=self.maxIdleConnsPerHost or connections,
            max_waiting=self.max_waiting,
        )


class ProxyFilter(HttpFilter):
    """Base of the terminal filters that call an endpoint."""

    Config: ClassVar[type[Model]] = ProxyConfig
    terminal = True

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self.scheme = config.scheme.strip().lower()
        self.timeouts = Timeouts(config.first_byte_timeout, config.idle_timeout)
        self.pools = Pools(self.scheme, config.pool_settings())
        self._sizes = context.metrics.reading(
            "pixiu_py_pool_size",
            "Connections to an endpoint that are idle or busy, and requests waiting for one.",
            ("cluster", "endpoint", "state"),
        )
        self._sizes.add(self.pools.sizes)

    async def close(self) -> None:
        """Close the upstream connections."""
        self._sizes.drop(self.pools.sizes)
        await self.pools.close()

    def cluster(self, exchange: Exchange) -> Cluster:
        """The exchange's cluster: the route's, unless a filter has put another there. Raises ``NoEndpoint``."""
        if exchange.cluster is None:
            raise NoEndpoint("the route has no cluster")
        return exchange.cluster

    def take(self, exchange: Exchange, endpoint: Endpoint) -> None:
        """``endpoint`` serves the exchange from now on."""
        endpoint.in_flight += 1
        exchange.endpoint = endpoint

    def leave(self, exchange: Exchange) -> None:
        """The endpoint serves the exchange no longer."""
        endpoint, exchange.endpoint = exchange.endpoint, None
        if endpoint is not None:
            endpoint.in_flight -= 1

    def done(self, exchange: Exchange) -> None:
        """The exchange is over: its endpoint is free. One whose response broke off while it was sent is told so."""
        endpoint = exchange.endpoint
        if endpoint is None:
            return
        self.leave(exchange)
        if isinstance(exchange.error, UpstreamError):
            exchange.attempts[-1].error = exchange.error.kind
            self.broke(endpoint, exchange.error)

    def broke(self, endpoint: Endpoint, error: UpstreamError) -> None:
        """A response of ``endpoint`` broke off after its head."""


class TimedBody:
    """A body that has to have ended at ``deadline``, in monotonic seconds."""

    __slots__ = ("_body", "_deadline", "length")

    def __init__(self, body: Body, deadline: float) -> None:
        self._body = body
        self._deadline = deadline
        self.length = body.length

    async def pipe(self, sink: Sink) -> None:
        """See ``Body.pipe``. Raises ``UpstreamTimeout`` (total)."""
        try:
            async with asyncio.timeout_at(self._deadline):
                await self._body.pipe(sink)
        except TimeoutError:
            raise UpstreamTimeout("total") from None

    def abort(self) -> None:
        """See ``Body.abort``."""
        self._body.abort()


def no_endpoint(exchange: Exchange, detail: str) -> NoEndpoint:
    """The error of a cluster that has nothing to offer, with the status the route asks for."""
    error = NoEndpoint(detail)
    if exchange.route is not None:
        error.status = exchange.route.status_without_endpoint
    return error
