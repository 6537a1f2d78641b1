"""Contracts of this stage: a listener accepts connections, a network filter handles what comes over them."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from pixiu_py.config.model import Listener as ListenerConfig

if TYPE_CHECKING:
    from pixiu_py.config.model import HttpServerConfig
    from pixiu_py.filters.base import Context
    from pixiu_py.http.connection import RawRequest


class NetworkFilter(Protocol):
    """Handles the requests of one listener. Built with (its config, the listener's limits, context, listener name)."""

    #: Set when the listener ends: each response then closes its connection.
    draining: bool

    def __init__(self, config: Any, server: HttpServerConfig, context: Context, listener: str = "") -> None: ...

    async def start(self) -> None:
        """Open what is needed."""

    async def close(self) -> None:
        """Release it."""

    def handle(self, raw: RawRequest) -> Coroutine[Any, Any, bool]:
        """Handle one request, its response included. True: the connection may serve another."""


class Listener:
    """Base of listeners: a port, and what accepts on it."""

    def __init__(self, config: ListenerConfig, network_filter: NetworkFilter, context: Context) -> None:
        self.config = config
        self.network_filter = network_filter
        self.context = context

    @property
    def address(self) -> tuple[str, int]:
        """The address it is bound to, with the real port."""
        raise NotImplementedError

    @property
    def connections(self) -> tuple[int, int]:
        """Connections without a request under way, and with one."""
        return 0, 0

    async def start(self, *, reuse_port: bool = False) -> None:
        """Bind and accept. Raises ``StartError`` when the address cannot be had."""
        raise NotImplementedError

    def stop_accepting(self) -> None:
        """Take no further connections; those that are open go on."""
        raise NotImplementedError

    async def drain(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds until no exchange is under way."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close every connection."""
        raise NotImplementedError
