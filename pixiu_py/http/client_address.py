"""Who the client is, when the connection comes from a proxy that says so in ``X-Forwarded-For``."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Networks:
    """A set of addresses, given as single addresses or in CIDR form. Raises ``ValueError`` for anything else."""

    __slots__ = ("_networks", "_single")

    def __init__(self, items: Iterable[str]) -> None:
        networks = [ipaddress.ip_network(item.strip(), strict=False) for item in items]
        self._single = frozenset(net.network_address for net in networks if net.num_addresses == 1)
        self._networks = tuple(net for net in networks if net.num_addresses > 1)

    def __contains__(self, address: Address | None) -> bool:
        if address is None:
            return False
        return address in self._single or any(address in network for network in self._networks)

    def __bool__(self) -> bool:
        return bool(self._single or self._networks)


def parse_address(text: str) -> Address | None:
    """An address, with or without brackets and port; None when it is none. IPv4 written as IPv6 becomes IPv4 again."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def client_address(peer: str, forwarded: Sequence[str], trusted: Networks) -> Address | None:
    """The client's address; None when the peer has none (a Unix socket).

    ``forwarded`` are the values of the X-Forwarded-For fields. Each proxy appends the address it was called from, so
    the list is read from its right end, past the proxies in ``trusted``; what stands further left is the client's own
    claim. An entry that is no address ends the walk at the last proxy that could be believed.
    """
    address = parse_address(peer)
    if not trusted or address not in trusted:
        return address
    hops = [hop for line in forwarded for hop in line.split(",")]
    for hop in reversed(hops):
        named = parse_address(hop)
        if named is None:
            return address
        address = named
        if address not in trusted:
            return address
    return address
