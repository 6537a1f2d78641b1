"""Connections to one endpoint, kept and shared; and the pools of one proxy filter."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pixiu_py.errors import ConnectFailed, PoolExhausted, UpstreamTimeout
from pixiu_py.upstream.connection import UpstreamConnection
from pixiu_py.upstream.response_head import KnownResponses

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """Limits of a pool. Times are seconds."""

    connect_timeout: float = 5.0
    keep_alive: float = 60.0
    #: Open connections to one endpoint, busy and idle.
    max_connections: int = 1024
    #: Idle connections to one endpoint.
    max_idle: int = 1024
    #: Requests that may wait for a connection to one endpoint.
    max_waiting: int = 1024


class ConnectionPool:
    """The connections to one address. The most recently used idle one is taken first.

    ``server_name`` is the name in the certificate, where it is not ``host``: an address that was found for a name.
    """

    __slots__ = (
        "_all",
        "_closed",
        "_connecting",
        "_heads",
        "_host",
        "_idle",
        "_loop",
        "_port",
        "_server_name",
        "_settings",
        "_tls",
        "_waiting",
        "owner",
    )

    def __init__(
        self,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        settings: PoolSettings,
        server_name: str = "",
        heads: KnownResponses | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._host = host
        self._port = port
        self._tls = tls
        self._server_name = server_name or host
        self._settings = settings
        #: The latest is the last. No list: a thousand that close together would each be searched for among the others.
        self._idle: dict[UpstreamConnection, None] = {}
        self._all: set[UpstreamConnection] = set()
        #: Places that are taken without a connection in them: it is being made, or its maker is about to begin.
        self._connecting = 0
        self._waiting: deque[asyncio.Future[UpstreamConnection | None]] = deque()
        self._closed = False
        #: Whose pool it is.
        self.owner: Pools | None = None
        self._heads = heads if heads is not None else KnownResponses()

    def __repr__(self) -> str:
        return f"<ConnectionPool idle={len(self._idle)} open={len(self._all)} waiting={len(self._waiting)}>"

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Connections that are idle, connections that are busy, and requests that wait for one."""
        return len(self._idle), self.busy, len(self._waiting)

    @property
    def busy(self) -> int:
        """Connections in use or being made."""
        return len(self._all) - len(self._idle) + self._connecting

    def take(self) -> UpstreamConnection | None:
        """An idle connection, if there is one."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.transport is not None and not connection.transport.is_closing():
                return connection
        return None

    async def connect(self) -> UpstreamConnection:
        """A connection that is new, or the next one that becomes free when the limit is reached.

        Raises ``ConnectFailed``, ``UpstreamTimeout`` (connect) or ``PoolExhausted``.
        """
        if len(self._all) + self._connecting >= self._settings.max_connections and not self._evict():
            freed = await self._wait_for_one()
            if freed is not None:
                return freed
        else:
            self._connecting += 1
        try:
            connection = await self._open()
        except BaseException:
            self._give_place()
            raise
        self._connecting -= 1
        self._all.add(connection)
        return connection

    async def _open(self) -> UpstreamConnection:
        try:
            async with asyncio.timeout(self._settings.connect_timeout or None):
                _, connection = await self._loop.create_connection(
                    lambda: UpstreamConnection(self._loop, self, self._heads),
                    self._host,
                    self._port,
                    ssl=self._tls,
                    server_hostname=self._server_name if self._tls else None,
                )
        except TimeoutError:
            raise UpstreamTimeout("connect") from None
        except OSError as error:  # refused, unreachable, name not found, and every ssl.SSLError
            raise ConnectFailed(f"cannot connect: {_reason(error)}") from error
        return connection

    def _evict(self) -> bool:
        """Make room by closing an idle connection. True when there was one."""
        connection = self.take()
        if connection is None:
            return False
        self._all.discard(connection)
        connection.abort()
        return True

    async def _wait_for_one(self) -> UpstreamConnection | None:
        """Stand in line. None: there is a place for a connection, which the caller has to make."""
        if len(self._waiting) >= self._settings.max_waiting:
            raise PoolExhausted("too many requests are waiting for a connection to the endpoint")
        waiter: asyncio.Future[UpstreamConnection | None] = self._loop.create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(self._settings.connect_timeout or None):
                return await waiter
        except TimeoutError:
            if waiter.done() and not waiter.cancelled():  # handed over in the same moment
                return waiter.result()
            raise PoolExhausted("every connection to the endpoint is busy") from None
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():  # the same: pass it on
                connection = waiter.result()
                self._give_place() if connection is None else self.release(connection)
            raise
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def release(self, connection: UpstreamConnection) -> None:
        """A connection has served its request and may serve another."""
        if self._closed or len(self._idle) >= self._settings.max_idle:
            connection.abort()
        elif not self._hand_over(connection):
            connection.keep_alive(self._settings.keep_alive)
            self._idle[connection] = None

    def lost(self, connection: UpstreamConnection) -> None:
        """A connection has closed."""
        known = connection in self._all
        self._all.discard(connection)
        self._idle.pop(connection, None)
        if known:
            self._connecting += 1
            self._give_place()

    def _give_place(self) -> None:
        """A place has no connection: the first in line may make one. It stays taken meanwhile, or it is free."""
        if not self._hand_over(None):
            self._connecting -= 1

    def _hand_over(self, connection: UpstreamConnection | None) -> bool:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    def close_idle(self) -> None:
        """Close what is idle, and from now on whatever becomes so."""
        self._closed = True
        for connection in list(self._idle):
            connection.abort()

    async def close(self) -> None:
        """Close everything. Who stands in line gets a ``PoolExhausted``."""
        self.close_idle()
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(PoolExhausted("the connections to the endpoint are being closed"))
        for connection in list(self._all):
            connection.abort()
        await asyncio.sleep(0)  # aborted transports report back on the next turn of the loop


class Pools:
    """The pools of one proxy filter, one for each endpoint it has talked to."""

    def __init__(self, scheme: str, settings: PoolSettings) -> None:
        self._scheme = scheme
        self._settings = settings
        self._pools: dict[Endpoint, ConnectionPool] = {}
        self._tls: dict[bool, ssl.SSLContext] = {}
        #: Shared by all: engines of one kind answer alike.
        self._heads = KnownResponses()

    def get(self, endpoint: Endpoint) -> ConnectionPool:
        """The pool of an endpoint, made at its first use."""
        latest: ConnectionPool | None = endpoint.pool
        if latest is not None and latest.owner is self:
            return latest
        pool = self._pools.get(endpoint)
        if pool is None:
            self._forget_removed()
            scheme = endpoint.scheme or self._scheme
            tls = self._tls_context(endpoint.tls_verify) if scheme == "https" else None
            port = endpoint.port_for(scheme)
            pool = ConnectionPool(endpoint.host, port, tls, self._settings, endpoint.server_name, self._heads)
            pool.owner = self
            self._pools[endpoint] = pool
        endpoint.pool = pool
        return pool

    def sizes(self) -> list[tuple[tuple[str, str, str], int]]:
        """By cluster, endpoint and state (idle, busy or waiting): for a ``Reading``."""
        return [
            ((endpoint.cluster, endpoint.id, state), size)
            for endpoint, pool in self._pools.items()
            for state, size in zip(("idle", "busy", "waiting"), pool.sizes, strict=True)
        ]

    def _forget_removed(self) -> None:
        for endpoint in [endpoint for endpoint in self._pools if endpoint.removed]:
            pool = self._pools[endpoint]
            pool.close_idle()
            if not pool.busy:
                del self._pools[endpoint]
                endpoint.pool = None

    def _tls_context(self, verify: bool) -> ssl.SSLContext:
        if verify not in self._tls:
            context = ssl.create_default_context()
            context.set_alpn_protocols(["http/1.1"])
            if not verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            self._tls[verify] = context
        return self._tls[verify]

    async def close(self) -> None:
        """Close every pool."""
        for pool in self._pools.values():
            await pool.close()
        self._pools.clear()


def _reason(error: OSError) -> str:
    """What went wrong, without the address: error texts may reach a client."""
    if isinstance(error, ssl.SSLError):
        return "TLS failed"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return error.strerror or type(error).__name__
