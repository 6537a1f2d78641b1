"""Clusters whose endpoints are host names, resolved again and again.

Each name is asked for once, however many endpoints bear it, and again when the shortest TTL of its records is over, but
never more often than ``dns.min_ttl`` and never later than ``dns.max_ttl``. A failure changes nothing: the last good
addresses stay, and the question is repeated after a pause that grows from ``min_ttl`` to ``RETRY_PAUSE``. The gateway
starts also when a name cannot be resolved; its endpoints appear once it can.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

import structlog

from pixiu_py.clusters.base import Address, Discovery
from pixiu_py.clusters.discovery.resolver import Answer, DnsResolver, Resolver
from pixiu_py.clusters.location import locate
from pixiu_py.config.model import Cluster as ClusterConfig
from pixiu_py.errors import ConnectFailed
from pixiu_py.registry import Family, plugin
from pixiu_py.tasks import Tasks

if TYPE_CHECKING:
    from pixiu_py.filters.base import Context

log = structlog.get_logger("pixiu_py.dns")

#: Seconds; the longest pause after a failure, unless ``dns.max_ttl`` is shorter.
RETRY_PAUSE = 10.0
#: Seconds; a limit of 0 in the configuration must not make a busy loop.
SHORTEST_PAUSE = 0.1


class _Name:
    """A host name, its last good addresses, and when to ask again."""

    __slots__ = ("addresses", "failures", "host", "pause")

    def __init__(self, host: str) -> None:
        self.host = host
        self.addresses: tuple[str, ...] = ()
        #: Failed lookups in a row.
        self.failures = 0
        self.pause = 0.0


class _Dns(Discovery):
    def __init__(
        self,
        config: ClusterConfig,
        context: Context,
        publish: Callable[[Sequence[Address]], None],
        resolver: Resolver | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(config, context, publish)
        self._resolver = resolver or DnsResolver(config.dns)
        self._sleep = sleep
        self._tasks = Tasks(f"dns of cluster {config.name}")
        self._places = [locate(endpoint) for endpoint in config.endpoints]
        self._names = {place.host: _Name(place.host) for place in self._places}

    async def start(self) -> None:
        """Ask for every name once, publish what is known by then, and go on asking."""
        self._remember()
        names = [name for name in self._names.values() if not _is_address(name)]
        await asyncio.gather(*(self._tasks.spawn(self._look_up(name), name.host) for name in names))
        self._publish()
        for name in names:
            _ = self._tasks.spawn(self._watch(name), name.host)

    async def close(self) -> None:
        """Stop asking."""
        await self._tasks.close()

    def _remember(self) -> None:
        """Begin with what is known without asking: literal addresses, and those from before a reload."""
        for position, host, _ in self.known:
            name = self._names[self._places[position].host]
            if host not in name.addresses:
                name.addresses += (host,)
        for name in self._names.values():
            if _is_address(name):
                name.addresses = (name.host,)

    async def _watch(self, name: _Name) -> None:
        while True:
            await self._sleep(name.pause)
            if await self._look_up(name):
                self._publish()

    async def _look_up(self, name: _Name) -> bool:
        """Ask once. True when the addresses have changed."""
        try:
            answer = await self._resolver.resolve(name.host)
        except ConnectFailed as error:
            self._failed(name, error)
            return False
        if name.failures:
            log.info("name is resolved again", cluster=self.config.name, name=name.host)
        settings = self.config.dns
        name.failures = 0
        name.pause = refresh_pause(answer.ttl, settings.min_ttl, settings.max_ttl)
        before, name.addresses = name.addresses, self._choose(answer, name.addresses)
        return name.addresses != before

    def _failed(self, name: _Name, error: ConnectFailed) -> None:
        name.failures += 1
        name.pause = retry_pause(name.failures, self.config.dns.min_ttl, self.config.dns.max_ttl)
        if name.failures == 1:  # once per change
            log.warning(
                "name cannot be resolved",
                cluster=self.config.name,
                name=name.host,
                reason=error.detail,
                kept=len(name.addresses),
            )

    def _choose(self, answer: Answer, current: tuple[str, ...]) -> tuple[str, ...]:
        raise NotImplementedError

    def _publish(self) -> None:
        self.publish(
            [
                (position, address, place.port)
                for position, place in enumerate(self._places)
                for address in self._names[place.host].addresses
            ]
        )


@plugin(Family.CLUSTER, "StrictDNS")
class StrictDNS(_Dns):
    """Every address of a name is an endpoint of its own, with the id ``<id>@<address>``."""

    many: ClassVar[bool] = True

    def _choose(self, answer: Answer, current: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(set(answer.addresses)))  # name servers rotate the order; that is no change


@plugin(Family.CLUSTER, "LogicalDns")
class LogicalDns(_Dns):
    """One address of a name at a time, kept for as long as the name has it."""

    def _choose(self, answer: Answer, current: tuple[str, ...]) -> tuple[str, ...]:
        # Taking whatever comes first would tear down warm connections each time a name server rotates the order.
        return current[:1] if set(current[:1]) & set(answer.addresses) else answer.addresses[:1]


def refresh_pause(ttl: float, min_ttl: float, max_ttl: float) -> float:
    """Seconds for which an answer is believed."""
    return max(min(max(ttl, min_ttl), max_ttl), SHORTEST_PAUSE)


def retry_pause(failures: int, min_ttl: float, max_ttl: float) -> float:
    """Seconds to wait after that many failures in a row."""
    first = max(min_ttl, SHORTEST_PAUSE)
    return min(first * 2.0 ** min(failures - 1, 30), max(min(max_ttl, RETRY_PAUSE), first))


def _is_address(name: _Name) -> bool:
    try:
        ipaddress.ip_address(name.host)
    except ValueError:
        return False
    return True
