"""An endpoint at run time: where it is, what it may be sent, and how it has been doing.

``Endpoint`` lives as long as its identity (cluster, id, address, key) stays the same; a changed address or key makes a
new one, with a clean record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pixiu_py.clusters.cooldown import Cooldown
from pixiu_py.config.types import Secret

if TYPE_CHECKING:
    from pixiu_py.upstream.retry import RetryPolicy


class Endpoint:
    """One instance of a cluster."""

    __slots__ = (
        "__weakref__",
        "address",
        "api_key",
        "auth_header",
        "cache_control",
        "client_auth",
        "cluster",
        "cooldown",
        "fallback",
        "healthy",
        "host",
        "host_header",
        "id",
        "in_flight",
        "key",
        "meta",
        "models",
        "name",
        "onward",
        "path_prefix",
        "pool",
        "port",
        "provider",
        "removed",
        "retry",
        "scheme",
        "server_name",
        "settings",
        "tls_verify",
        "weight",
    )

    def __init__(self, cluster: str, id: str, host: str, port: int) -> None:  # noqa: A002 - the field's name
        self.cluster = cluster
        self.id = id
        self.name = ""
        #: Name or IP address to connect to.
        self.host = host
        #: 0: none was configured; the scheme that is spoken decides, see ``port_for``.
        self.port = port
        #: ``host:port``, for logs and attempt records; the host alone when there is no port.
        self.address = _address(host, port)
        #: Name for TLS (SNI and the certificate): the configured one, also when ``host`` is an address found for it.
        self.server_name = host
        #: ``http`` or ``https``; empty: the filter's scheme.
        self.scheme = ""
        #: Value of the Host header.
        self.host_header = ""
        self.path_prefix = ""
        self.tls_verify = True
        #: Weight for WeightRandom.
        self.weight = 0
        self.meta: dict[str, Any] = {}
        #: What it was built from: a reload keeps the object when this is equal.
        self.settings: Any = None

        self.provider = ""
        self.api_key: Secret | None = None
        #: Lower-case name of the header that carries the key.
        self.auth_header = "authorization"
        self.client_auth = "pass"
        #: ``strip`` or ``keep``: prompt-cache markers in bodies that are sent there.
        self.cache_control = "strip"
        #: Model names clients use → name the endpoint knows; empty: serves any model under its own name.
        self.models: dict[str, str] = {}
        self.fallback = False
        self.retry: RetryPolicy | None = None
        self.cooldown = Cooldown(seconds=0.0, threshold=1)

        #: Identity: (cluster, id, address, digest of the key). Shared state is stored under it.
        self.key: tuple[str, str, str, str] = (cluster, id, self.address, "")
        #: Verdict of the active health checks.
        self.healthy = True
        #: Exchanges that use it right now.
        self.in_flight = 0
        #: True once it has left its cluster; its idle connections are closed.
        self.removed = False
        #: What every request to it says, as whoever sends them has it ready. Made at the first use.
        self.onward: Any = None
        #: The connections to it of whoever has asked last, see ``Pools``.
        self.pool: Any = None

    def serves(self, model: str) -> bool:
        """True when this endpoint may be asked for ``model``; an empty name means any."""
        return not model or not self.models or model in self.models

    def port_for(self, scheme: str) -> int:
        """The port to connect to when ``http`` or ``https`` is spoken."""
        return self.port or (443 if scheme == "https" else 80)

    def __repr__(self) -> str:
        state = "healthy" if self.healthy else "unhealthy"
        return f"<Endpoint {self.cluster}/{self.id} {self.address} {state} in_flight={self.in_flight}>"


def _address(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port}" if port else shown
