"""HTTP and HTTPS listeners."""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from pixiu_py.errors import StartError
from pixiu_py.http.connection import MAX_FIELD
from pixiu_py.http.server import DownstreamServer
from pixiu_py.listeners.base import Listener, NetworkFilter
from pixiu_py.registry import Family, plugin

if TYPE_CHECKING:
    from pixiu_py.config.model import Listener as ListenerConfig
    from pixiu_py.filters.base import Context

#: Names of the certificate and key that a certs_dir may hold, in order of preference.
CERTIFICATES = (("tls.crt", "tls.key"), ("cert.pem", "key.pem"))


@plugin(Family.LISTENER, "HTTP")
class HttpListener(Listener):
    """HTTP/1.1 over TCP."""

    def __init__(self, config: ListenerConfig, network_filter: NetworkFilter, context: Context) -> None:
        super().__init__(config, network_filter, context)
        self._server: DownstreamServer | None = None
        self._acceptor: asyncio.Server | None = None

    @property
    def address(self) -> tuple[str, int]:
        """See ``Listener.address``."""
        assert self._acceptor is not None, "the listener has not been started"  # noqa: S101 - a caller's mistake
        host, port = self._acceptor.sockets[0].getsockname()[:2]
        return host, port

    @property
    def connections(self) -> tuple[int, int]:
        """See ``Listener.connections``."""
        return self._server.idle_and_busy() if self._server is not None else (0, 0)

    async def start(self, *, reuse_port: bool = False) -> None:
        """See ``Listener.start``."""
        limits = self.config.config
        field_limit = min(limits.max_header_bytes, MAX_FIELD)
        self._server = DownstreamServer(
            self.network_filter.handle,
            max_connections=limits.max_connections,
            keepalive_timeout=limits.idle_timeout,
            lingering_time=limits.linger_timeout,
            max_line_size=field_limit,
            max_field_size=field_limit,
            max_headers=limits.max_headers,
        )
        wanted = self.config.address.socket_address
        try:
            self._acceptor = await asyncio.get_running_loop().create_server(
                self._server,
                wanted.address,
                wanted.port,
                ssl=self._tls(),
                backlog=limits.backlog,
                reuse_port=reuse_port or None,
            )
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            name = self.config.name or "listener"
            raise StartError(f"{name}: cannot listen on {wanted.address}:{wanted.port}: {reason}") from error

    def _tls(self) -> ssl.SSLContext | None:
        return None

    def stop_accepting(self) -> None:
        """See ``Listener.stop_accepting``."""
        self.network_filter.draining = True
        if self._acceptor is not None:
            self._acceptor.close()
        if self._server is not None:
            self._server.close_idle()

    async def drain(self, timeout: float) -> None:
        """See ``Listener.drain``."""
        if self._server is None:
            return
        try:
            async with asyncio.timeout(timeout):
                await self._server.all_closed()
        except TimeoutError:
            return

    async def close(self) -> None:
        """See ``Listener.close``."""
        self.stop_accepting()
        if self._server is not None:
            await self._server.end()
            self._server = None


@plugin(Family.LISTENER, "HTTPS")
class HttpsListener(HttpListener):
    """HTTP/1.1 over TLS, with the certificate in ``certs_dir``."""

    def _tls(self) -> ssl.SSLContext:
        folder = Path(self.config.address.socket_address.certs_dir)
        for certificate, key in CERTIFICATES:
            try:
                if (folder / certificate).exists():
                    return _context(folder / certificate, folder / key)
            except OSError as error:  # those of TLS among them, which name no file
                place = error.filename or f"{folder / certificate} and {key}"
                reason = error.strerror if error.filename else error
                raise StartError(f"{self.config.name}: cannot load {place}: {reason}") from error
        raise StartError(f"{self.config.name}: {folder} holds neither tls.crt nor cert.pem")


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    for path in (certificate, key):
        with path.open("rb"):  # an error of this tells which it was
            pass
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, key, password=_no_password)
    return context


def _no_password() -> str:
    raise OSError("the key is encrypted, and nobody is asked for its password")
