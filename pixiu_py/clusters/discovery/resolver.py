"""Host names to addresses, with the time they may be believed."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from typing import NamedTuple, Protocol

import aiodns
import pycares

from pixiu_py.config.model import DnsSettings
from pixiu_py.errors import ConfigError, ConnectFailed, Problem


class Answer(NamedTuple):
    """The addresses of a name, best first; never empty. ``ttl`` in seconds, 0 when the source gives none."""

    addresses: tuple[str, ...]
    ttl: float


class Resolver(Protocol):
    """Finds the addresses of a host name."""

    async def resolve(self, name: str) -> Answer:
        """Raises ``ConnectFailed`` when there is no answer."""


class DnsResolver:
    """A resolver on aiodns: the hosts file first, then DNS with the system's search domains.

    A server with both IPv4 and IPv6 addresses is one server, so the addresses of one family only are used: IPv4 if
    there are any and this host has a route there, as most servers listen on IPv4 whatever their name says; else IPv6.
    """

    def __init__(self, settings: DnsSettings, routable: Callable[[str], bool] | None = None) -> None:
        """Raises ``ConfigError`` for a server that is no address."""
        wrong = [server for server in settings.servers if not is_server(server)]
        if wrong:
            raise ConfigError([Problem("dns.servers", f"{server!r} is neither ip nor ip:port") for server in wrong])
        self._settings = settings
        self._routable = routable or has_route

    async def resolve(self, name: str) -> Answer:
        """Raises ``ConnectFailed`` when the name does not exist, has no address, or nobody answers in time."""
        settings = self._settings
        # A channel for each lookup: c-ares would keep an answer for its whole TTL, which max_ttl may cut short. Half of
        # the time for each of two tries, because a datagram may get lost.
        try:
            async with (
                asyncio.timeout(settings.timeout or None),
                aiodns.DNSResolver(settings.servers or None, timeout=settings.timeout / 2 or None, tries=2) as resolver,
            ):
                result = await resolver.getaddrinfo(name, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise ConnectFailed(f"no answer within {settings.timeout:g} s") from None
        except (aiodns.error.DNSError, pycares.AresError, OSError, ValueError) as error:
            raise ConnectFailed(str(error.args[-1] if error.args else error)) from error
        addresses = self._one_family(result.nodes)
        if not addresses:
            raise ConnectFailed("the name has no address")
        ttls = [node.ttl for node in result.nodes] + [alias.ttl for alias in result.cnames]
        return Answer(addresses, float(min(ttls)))

    def _one_family(self, nodes: list[pycares.AddrInfoNode]) -> tuple[str, ...]:
        v4 = tuple(_text(node) for node in nodes if node.family == socket.AF_INET)
        v6 = tuple(_text(node) for node in nodes if node.family == socket.AF_INET6)
        return v4 if v4 and (not v6 or self._routable(v4[0])) else v6


def is_server(text: str) -> bool:
    """True for ``ip``, ``ip:port`` or ``[ip]:port``."""
    host, colon, port = text.rpartition(":")
    if colon and port.isdigit() and int(port) < 65536 and (host.startswith("[") or ":" not in host):
        text = host
    try:
        ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def has_route(address: str) -> bool:
    """True when packets to an IPv4 address have somewhere to go. Sends nothing (RFC 6724 §6, rule 1)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError:
            return False
    return True


def _text(node: pycares.AddrInfoNode) -> str:
    address = node.addr[0]
    return address.decode() if isinstance(address, bytes) else str(address)
