"""Contracts of this stage: a load balancer chooses an endpoint, a discovery says which endpoints there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.config.model import Cluster as ClusterConfig

if TYPE_CHECKING:
    from pixiu_py.filters.base import Context
    from pixiu_py.http.exchange import Exchange


#: Position of the configured endpoint, host, port. Port 0: the default port of whatever scheme is spoken.
Address = tuple[int, str, int]


class LoadBalancer:
    """Chooses one of a set of endpoints.

    One balancer serves one set: ``update`` is called with the usable endpoints whenever they change, and may build what
    it likes; ``pick`` is on the path of every request and should not depend on how many there are.
    """

    #: True when ``pick`` wants the parsed body (``exchange.request.json()``) to have been read before.
    needs_body: bool = False

    def __init__(self, config: ClusterConfig, context: Context) -> None:
        self.config = config
        self.context = context
        self.endpoints: tuple[Endpoint, ...] = ()

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """The usable endpoints, in config order, from now on."""
        self.endpoints = tuple(endpoints)

    def prepare(self) -> None:
        """Called once before the first ``pick``, and at no time that matters: make what would hold up a request."""

    def pick(self, exchange: Exchange) -> Endpoint | None:
        """One of the endpoints; None when there is none."""
        raise NotImplementedError


class Discovery:
    """A cluster type: turns configured endpoints into addresses, once (Static) or again and again (DNS).

    ``publish`` takes the complete new list. It is called at least once before ``start`` returns, and may be called
    again at any time; a failed refresh does not call it, so the last good list stays.
    """

    #: True: every address is an endpoint of its own, with the id ``<configured id>@<host>``, whether it has siblings or
    #: not, so that an endpoint stays the same when others come and go. False: one address for each configured endpoint.
    many: ClassVar[bool] = False

    def __init__(self, config: ClusterConfig, context: Context, publish: Callable[[Sequence[Address]], None]) -> None:
        self.config = config
        self.context = context
        self.publish = publish
        #: What the cluster's predecessor had published before a reload: good until something newer is known.
        self.known: Sequence[Address] = ()

    async def start(self) -> None:
        """Publish the first list; start refreshing if the type does so."""
        raise NotImplementedError

    async def close(self) -> None:
        """Stop refreshing."""
