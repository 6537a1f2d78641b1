"""What the consistent-hash balancers share: the key of a request, and the hash.

The key comes from the first configured source that has a value. Without any, it is Pixiu's: method and request target.
All chat completions have the same one, and would all go to one endpoint, so a cluster that hashes should say what it
hashes: a session header, say. Hashes are the same in every process and after every restart (BLAKE2b, RFC 7693), so
several workers and several gateways agree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson

from pixiu_py.clusters.base import LoadBalancer
from pixiu_py.http.headers import encode

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.config.model import Cluster as ClusterConfig
    from pixiu_py.config.model import HashKey
    from pixiu_py.filters.base import Context
    from pixiu_py.http.exchange import Exchange, Request


class HashBalancer(LoadBalancer):
    """Base of balancers that send equal keys to the same endpoint.

    Their tables are built at the start, and at the first pick after a change: a cluster whose endpoints come in one by one
    builds once.
    """

    def __init__(self, config: ClusterConfig, context: Context) -> None:
        super().__init__(config, context)
        self.needs_body = bool(config.hash_key.body_field)
        self._stale = True

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """Forget the table."""
        super().update(endpoints)
        self._stale = True

    def pick(self, exchange: Exchange) -> Endpoint | None:
        """The endpoint of the request's key; None when there is no endpoint."""
        endpoints = self.endpoints
        if len(endpoints) < 2:
            return endpoints[0] if endpoints else None
        if self._stale:
            self.prepare()
        return self.look_up(hash64(request_key(exchange.request, self.config.hash_key)))

    def prepare(self) -> None:
        """Make the table, if it is not up to date."""
        if self._stale and len(self.endpoints) > 1:
            self.build(self.endpoints)
            self._stale = False

    def build(self, endpoints: Sequence[Endpoint]) -> None:
        """Make the table for at least two endpoints."""
        raise NotImplementedError

    def look_up(self, point: int) -> Endpoint:
        """The endpoint for a hash of 64 bits."""
        raise NotImplementedError


def hash64(data: bytes) -> int:
    """64 bits that depend on nothing but ``data``."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def request_key(request: Request, settings: HashKey) -> bytes:
    """What is hashed for a request: the first source in ``settings`` with a value, else its method and target."""
    value: str | None = None
    if settings.header:
        value = request.headers.get(settings.header)
    if not value and settings.cookie:
        value = request.cookie(settings.cookie)
    if not value and settings.body_field:
        value = _field(request.parsed, settings.body_field)
    if not value and settings.source_address:
        value = request.client_address
    return encode(value or f"{request.method}.{request.target}")


def _field(document: Any, name: str) -> str | None:
    value = document.get(name) if isinstance(document, dict) else None
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
