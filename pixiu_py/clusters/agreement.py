"""What the workers of one machine tell each other about endpoints: cooldowns, rests, and verdicts of health checks.

Pure: notices and the table that keeps the latest of each. The same table serves three times: as what a worker still has
to tell, as what the hub still has to pass on, and as what a worker that starts later has to know. A newer notice takes the
place of an older one about the same thing, so a table holds at most two notices for each endpoint, however long nobody
reads it. Times are those of ``CLOCK_MONOTONIC``, which all processes of a machine share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pixiu_py.clusters.cluster import Cluster
    from pixiu_py.clusters.cooldown import Cooldown
    from pixiu_py.clusters.endpoint import Endpoint

#: Notices that a table keeps; the oldest make room. Addresses that come and go must not fill the memory.
MOST_NOTICES = 20_000

#: Seconds between two looks for outdated notices.
_FORGET_INTERVAL = 1.0

#: See ``Endpoint.key``.
Key = tuple[str, str, str, str]


class Cooling(msgspec.Struct, frozen=True, array_like=True, tag="cooling"):
    """Until when an endpoint is left alone; the fields of a ``Cooldown``."""

    key: Key
    until: float
    trial_until: float
    resting_until: float
    reason: str

    def outdated(self, now: float) -> bool:
        """True when it says nothing any more that somebody who has not heard it would have to know."""
        return not self.until and self.resting_until <= now


class Health(msgspec.Struct, frozen=True, array_like=True, tag="health"):
    """The verdict of the health checks about an endpoint."""

    key: Key
    healthy: bool

    def outdated(self, now: float) -> bool:
        """See ``Cooling.outdated``."""
        return self.healthy


class Duty(msgspec.Struct, frozen=True, array_like=True, tag="duty"):
    """To a worker: it is the one that runs the health checks from now on."""

    key: None = None

    def outdated(self, now: float) -> bool:
        """See ``Cooling.outdated``."""
        return False


class Started(msgspec.Struct, frozen=True, array_like=True, tag="started"):
    """From a worker: it serves."""

    key: None = None

    def outdated(self, now: float) -> bool:
        """See ``Cooling.outdated``."""
        return True


Notice = Cooling | Health | Duty | Started

encode = msgspec.json.Encoder().encode
decode: Callable[[bytes], Notice] = msgspec.json.Decoder(Notice).decode


class Notices:
    """The latest notice about each thing, oldest first."""

    def __init__(self, most: int = MOST_NOTICES) -> None:
        self._most = most
        self._latest: dict[tuple[type, Key | None], Notice] = {}

    def __len__(self) -> int:
        return len(self._latest)

    def __iter__(self) -> Iterator[Notice]:
        return iter(self._latest.values())

    def put(self, notice: Notice) -> None:
        """Keep a notice in place of an older one about the same thing."""
        name = (type(notice), notice.key)
        self._latest.pop(name, None)
        if len(self._latest) >= self._most:
            del self._latest[next(iter(self._latest))]
        self._latest[name] = notice

    def first(self) -> Notice | None:
        """The oldest."""
        return next(iter(self._latest.values()), None)

    def drop_first(self) -> None:
        """Forget the oldest."""
        del self._latest[next(iter(self._latest))]

    def about(self, key: Key) -> list[Notice]:
        """All about one endpoint."""
        found = (self._latest.get((kind, key)) for kind in (Cooling, Health))
        return [notice for notice in found if notice is not None]

    def forget_outdated(self, now: float) -> None:
        """Drop what a newcomer need not know."""
        self._latest = {name: notice for name, notice in self._latest.items() if not notice.outdated(now)}


class Agreement:
    """One worker's part: tells the others what happens to the endpoints here, and heeds what it hears.

    ``publish`` sends a notice to the other workers.
    """

    def __init__(self, publish: Callable[[Notice], None], clock: Callable[[], float]) -> None:
        self._publish = publish
        self._clock = clock
        self._clusters: dict[str, Cluster] = {}
        #: Also what is about endpoints that this worker does not know yet: DNS may tell each worker at another time.
        self._known = Notices()
        self._attached: dict[str, frozenset[Endpoint]] = {}
        #: When outdated notices may be looked for again: where thousands are not, looking at each change costs too much.
        self._forget_after = 0.0

    def join(self, cluster: Cluster) -> None:
        """Let the endpoints of a cluster take part."""
        self._clusters[cluster.name] = cluster
        cluster.on_change = self._changed
        self._changed(cluster)

    def hear(self, notices: Iterable[Notice]) -> None:
        """Heed what other workers tell."""
        verdicts: dict[str, dict[Endpoint, bool]] = {}
        for notice in notices:
            if isinstance(notice, (Duty, Started)):
                continue
            self._known.put(notice)
            cluster = self._clusters.get(notice.key[0])
            endpoint = cluster.find(notice.key[1]) if cluster is not None else None
            if cluster is None or endpoint is None or endpoint.key != notice.key:
                continue
            if isinstance(notice, Health):
                verdicts.setdefault(cluster.name, {})[endpoint] = notice.healthy
            else:
                _heed(endpoint, notice)
        self._forget()
        for name, verdict in verdicts.items():
            self._clusters[name].set_verdicts(verdict)

    def judged(self, endpoint: Endpoint, healthy: bool) -> None:
        """The health checks of this worker have come to another verdict."""
        self._tell(Health(endpoint.key, healthy))

    def _changed(self, cluster: Cluster) -> None:
        attached = self._attached.get(cluster.name, frozenset())
        self._attached[cluster.name] = frozenset(cluster.endpoints)
        verdicts: dict[Endpoint, bool] = {}
        for endpoint in cluster.endpoints:
            if endpoint in attached:
                continue
            endpoint.cooldown.tell = _Teller(self, endpoint)
            for notice in self._known.about(endpoint.key):
                if isinstance(notice, Cooling):
                    _heed(endpoint, notice)
                elif isinstance(notice, Health):
                    verdicts[endpoint] = notice.healthy
        cluster.set_verdicts(verdicts)

    def _tell(self, notice: Notice) -> None:
        self._known.put(notice)
        self._forget()
        self._publish(notice)

    def _forget(self) -> None:
        if len(self._known) > MOST_NOTICES // 2 and (now := self._clock()) >= self._forget_after:
            self._known.forget_outdated(now)
            self._forget_after = now + _FORGET_INTERVAL


class _Teller:
    """What a cooldown calls when others should hear of it."""

    __slots__ = ("_agreement", "_endpoint")

    def __init__(self, agreement: Agreement, endpoint: Endpoint) -> None:
        self._agreement = agreement
        self._endpoint = endpoint

    def __call__(self, cooldown: Cooldown) -> None:
        self._agreement._tell(cooling(self._endpoint.key, cooldown))


def cooling(key: Key, cooldown: Cooldown) -> Cooling:
    """The notice about a cooldown as it is."""
    return Cooling(key, cooldown.until, cooldown.trial_until, cooldown.resting_until, cooldown.reason)


def _heed(endpoint: Endpoint, notice: Cooling) -> None:
    endpoint.cooldown.adopt(notice.until, notice.trial_until, notice.resting_until, notice.reason)
