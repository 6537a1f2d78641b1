"""Where a configured endpoint is: Pixiu's host rule, and the provider table.

Pure. The rules, in this order:

1. no ``socket_address`` (or one left at its defaults) and a hosted provider: its address, port and path prefix;
2. ``domains[0]``, a host name with an optional port;
3. ``address`` and ``port``.

The scheme is the endpoint's own, else the provider's where the host is the provider's, else left to the filter. A
domain without a port gets the scheme's; as long as the scheme is not known, the port stays 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pixiu_py.clusters.providers import Provider, find_provider
from pixiu_py.config.model import Endpoint as EndpointConfig
from pixiu_py.config.model import SocketAddress

DEFAULT_PORTS = {"http": 80, "https": 443}

_DOMAIN = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\s:/?#@\[\]]+)(?::(?P<port>\d{1,5}))?")
_IPV6 = re.compile(r"[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(?:%\w+)?")
_NOT_IN_A_FIELD = re.compile(r"[\x00-\x20\x7f]")


@dataclass(frozen=True, slots=True)
class Location:
    """Where requests to an endpoint go, before any name is resolved."""

    scheme: str  # http, https; empty: the filter's
    host: str
    port: int  # 0: the scheme's default, once it is known
    host_header: str
    path_prefix: str


def locate(endpoint: EndpointConfig) -> Location:
    """The location of a configured endpoint. Raises ``ValueError`` when it has none, or one that cannot be used."""
    provider = find_provider(endpoint.llm_meta.provider) if endpoint.llm_meta else None
    address = endpoint.socket_address
    prefix = endpoint.path_prefix
    if provider and provider.host and address in (None, SocketAddress()):
        host, port = provider.host, provider.port
        prefix = prefix or provider.path_prefix
    elif address is None:
        raise ValueError("no address: give socket_address, or an llm_meta.provider whose address is known")
    elif address.domains:
        host, port = split_domain(address.domains[0])
    else:
        host, port = _host(address.address), address.port
        if not host or not port:
            raise ValueError("socket_address needs an address and a port that is not 0")
    scheme = endpoint.scheme or _scheme_of(provider, host)
    port = port or DEFAULT_PORTS.get(scheme, 0)
    header = endpoint.host or _host_header(host, port, scheme)
    return Location(scheme, host, port, _one_word(header, "host"), _prefix(prefix))


def _host(address: str) -> str:
    """The host in ``address``. Raises ``ValueError`` for a URL, a port, or anything else that is no host alone."""
    host = address.strip().strip("[]")
    if not host:
        return ""
    match = _DOMAIN.fullmatch(f"[{host}]" if _IPV6.fullmatch(host) else host)
    if match is None or match["port"]:
        raise ValueError(f"address is a host name or an IP address, without scheme and port, not {address!r}")
    return host


def split_domain(domain: str) -> tuple[str, int]:
    """Host and port of ``domains[0]``; port 0 when it has none. Raises ``ValueError`` for a URL or a path."""
    match = _DOMAIN.fullmatch(domain.strip())
    if match is None:
        raise ValueError(f"domains[0] is a host name, optionally with a port, not {domain!r}")
    port = int(match["port"]) if match["port"] else 0
    if port > 65535 or (match["port"] and not port):
        raise ValueError(f"domains[0] has no valid port: {domain!r}")
    return match["host"].strip("[]"), port


def _scheme_of(provider: Provider | None, host: str) -> str:
    return provider.scheme if provider and provider.host == host.lower() else ""


def _host_header(host: str, port: int, scheme: str) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port}" if port and port != DEFAULT_PORTS.get(scheme, 80) else shown


def _prefix(text: str) -> str:
    stripped = _one_word(text.strip("/"), "path_prefix")
    if "?" in stripped or "#" in stripped:
        raise ValueError("path_prefix is a path: it has no ? or #")
    return f"/{stripped}" if stripped else ""


def _one_word(text: str, key: str) -> str:
    # Written into the head of every request as it is: a line break would start another header field.
    if _NOT_IN_A_FIELD.search(text):
        raise ValueError(f"{key} contains white space or control characters")
    return text
