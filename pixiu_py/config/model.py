"""The shape of ``conf.yaml``: Pixiu's keys, spellings and defaults, plus our own keys, each with its description.

Only shapes and rules that concern one block live here; rules across blocks (a route names a cluster) are in
``check.py``.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, field

from pixiu_py.config.types import (
    Duration,
    HttpFilterRef,
    Model,
    NetworkFilterRef,
    PluginRef,
    RetryPolicyRef,
    Secret,
    Size,
    doc,
    is_field_name,
)
from pixiu_py.registry import Family

Port = Annotated[int, Meta(ge=0, le=65535, description="TCP port; 0 lets the system choose.")]
Positive = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[int, Meta(ge=0)]


class Outer(Model, frozen=True):
    """A block outside a filter's ``config``: Pixiu ignores the case of its keys."""

    case_insensitive: ClassVar[bool] = True


# --- routes ----------------------------------------------------------------------------------------------------------


class HeaderMatch(Model, frozen=True):
    """A condition on one request header."""

    name: Annotated[str, doc("Header name; case does not matter.")]
    values: Annotated[list[str], doc("Any of these values; empty: the header need only be there.")] = []
    regex: Annotated[bool, doc("values[0] is a regular expression that must be found in the value.")] = False


class RouteMatch(Model, frozen=True):
    """Conditions of a route. All that are given must hold."""

    prefix: Annotated[str, doc("Path prefix, by whole segments: /user matches /user and /user/x, not /users.")] = ""
    path: Annotated[str, doc("Path pattern: * one segment, ** the rest, :name a variable.")] = ""
    methods: Annotated[list[str], doc("Allowed methods; absent: GET HEAD PUT PATCH DELETE POST OPTIONS.")] = []
    headers: Annotated[list[HeaderMatch], doc("Header conditions.")] = []
    hosts: Annotated[list[str], doc("Host names without port; *.example.com matches any depth of subdomains.")] = []
    models: Annotated[list[str], doc("Values of `model` in a JSON body; a trailing * matches any ending.")] = []


class RouteAction(Model, frozen=True):
    """Where a route leads."""

    cluster: Annotated[str, doc("Name of a cluster.")] = ""
    cluster_not_found_response_code: Annotated[int, doc("Status when the cluster has no endpoint at all.")] = 503


class Route(Model, frozen=True, kw_only=True):
    """One entry of a route table."""

    id: Annotated[str, doc("Name of the route; absent: its path pattern.")] = ""
    match: Annotated[RouteMatch, doc("Which requests it takes.")]
    route: Annotated[RouteAction, doc("Where they go.")]
    http_filters: Annotated[list[HttpFilterRef] | None, doc("This route's own chain, not the manager's.")] = None


class RouteConfig(Model, frozen=True):
    """The routes of one connection manager."""

    routes: Annotated[list[Route], doc("Which request goes where; the best match wins, not the first.")] = []
    dynamic: Annotated[bool, doc("Accepted for Pixiu's sake; adapters may add routes.")] = False


class HttpConnectionManagerConfig(Model, frozen=True):
    """The network filter of HTTP listeners: routes, and the filters that requests pass."""

    route_config: Annotated[RouteConfig, doc("Which request goes where.")] = field(default_factory=RouteConfig)
    http_filters: Annotated[list[HttpFilterRef], doc("The filter chain, in order; the last one answers.")] = []
    server_name: Annotated[str, doc("Accepted and unused, as in Pixiu.")] = "pixiu-py"
    generate_request_id: Annotated[bool, doc("Give each request that has no x-request-id a fresh one.")] = True
    timeout: Annotated[Duration, doc("Accepted and unused: filters have timeouts of their own.")] = 0.0
    idle_timeout: Annotated[Duration, doc("Accepted and unused: see the listener's config.")] = 0.0


# --- listeners -------------------------------------------------------------------------------------------------------


class SocketAddress(Outer, frozen=True):
    """Where to listen, or where an endpoint is."""

    address: Annotated[str, doc("IP address or host name.")] = "0.0.0.0"  # noqa: S104 - Pixiu's default
    port: Port = 8881
    resolver_name: Annotated[str, doc("Accepted and unused, as in Pixiu.")] = ""
    domains: Annotated[list[str], doc("Endpoints: the host to call, domains[0], optionally with a port.")] = []
    certs_dir: Annotated[str, doc("HTTPS listeners: folder with tls.crt and tls.key.")] = ""


class Address(Outer, frozen=True):
    """A named socket address."""

    name: Annotated[str, doc("Accepted and unused, as in Pixiu.")] = ""
    socket_address: Annotated[SocketAddress, doc("Where to listen.")] = field(default_factory=SocketAddress)


class FilterChains(Outer, frozen=True):
    """The network filters of a listener: an object, despite its plural name."""

    filters: Annotated[list[NetworkFilterRef], doc("Exactly one: dgp.filter.httpconnectionmanager.")] = []


class HttpServerConfig(Outer, frozen=True):
    """Limits of an HTTP listener."""

    idle_timeout: Annotated[Duration, doc("A keep-alive connection without a request is closed after this.")] = 20.0
    read_timeout: Annotated[Duration, doc("Longest silence while a request is being received.")] = 20.0
    write_timeout: Annotated[Duration, doc("Longest time a client may go without reading; never a total.")] = 20.0
    max_header_bytes: Annotated[Size, doc("Largest request head.")] = 1048576
    max_headers: Annotated[Positive, doc("Most header fields in a request.")] = 128
    linger_timeout: Annotated[
        Duration, doc("How long the rest of a request body is still read after the answer, so that the client sees it.")
    ] = 10.0
    max_connections: Annotated[NotNegative, doc("Most open connections; the next is closed at once. 0: no limit.")] = 0
    backlog: Annotated[Positive, doc("Connections the kernel may hold before they are accepted.")] = 1024


class Listener(Outer, frozen=True):
    """A port that accepts requests."""

    name: Annotated[str, doc("Name in logs; absent: made from address, port and protocol.")] = ""
    protocol_type: Annotated[str, doc("HTTP or HTTPS.")] = "HTTP"
    address: Annotated[Address, doc("Where to listen.")] = field(default_factory=Address)
    filter_chains: Annotated[FilterChains, doc("What handles the requests; an object, in spite of its name.")] = field(
        default_factory=FilterChains
    )
    config: Annotated[HttpServerConfig, doc("Limits.")] = field(default_factory=HttpServerConfig)


# --- clusters --------------------------------------------------------------------------------------------------------


class ServedModel(Outer, frozen=True):
    """A model that an endpoint serves under another name."""

    name: Annotated[str, doc("The name clients use.")]
    upstream: Annotated[str, doc("The name the endpoint knows; empty: the same.")] = ""


class LlmMeta(Outer, frozen=True):
    """What the LLM proxy knows of an endpoint."""

    key_aliases: ClassVar[dict[str, str]] = {"api_keys": "api_key"}

    provider: Annotated[str, doc("Label; a known provider gives address, path prefix and key header.")] = ""
    api_key: Annotated[Secret | None, doc("Sent upstream in place of the client's credential.")] = None
    auth_header: Annotated[str, doc("Header that carries api_key; absent: the provider's, else authorization.")] = ""
    client_auth: Annotated[
        Literal["pass", "drop"], doc("Without api_key: send the client's own credential, or none.")
    ] = "pass"
    models: Annotated[list[str | ServedModel], doc("Models served here; empty: any.")] = []
    cache_control: Annotated[
        Literal["strip", "keep"] | None,
        doc("Prompt-cache markers in bodies sent there; absent: kept where the provider is known to read them."),
    ] = None
    fallback: Annotated[bool, doc("After this endpoint has failed, others may be tried.")] = False
    health_check_interval: Annotated[NotNegative, doc("Cooldown after failures, in milliseconds; 0: none.")] = 0
    failure_threshold: Annotated[Positive, doc("Consecutive failures that start a cooldown.")] = 1
    retry_policy: Annotated[RetryPolicyRef, doc("Tries at this endpoint before the next one.")] = field(
        default_factory=lambda: RetryPolicyRef(name="NoRetry")
    )


class Endpoint(Outer, frozen=True):
    """One instance of a cluster."""

    id: Annotated[str, doc("Stable id; absent: made from address, provider and key.")] = ""
    name: Annotated[str, doc("Name for people; absent: endpoint-<number>#<provider>.")] = ""
    socket_address: Annotated[SocketAddress | None, doc("Where it is; absent: where its provider is.")] = None
    meta: Annotated[dict[str, Any], doc("Free labels; weight is read by WeightRandom.")] = {}
    scheme: Annotated[Literal["", "http", "https"], doc("Overrides the filter's scheme.")] = ""
    path_prefix: Annotated[str, doc("Put before the request's path, such as /compatible-mode.")] = ""
    host: Annotated[str, doc("Host header to send; absent: the endpoint's own name.")] = ""
    tls_verify: Annotated[bool, doc("Verify an https endpoint's certificate.")] = True
    llm_meta: Annotated[LlmMeta | None, doc("What the LLM proxy knows of it.")] = None


class Consistent(Outer, frozen=True):
    """Settings of the consistent-hash balancers."""

    replica_num: Annotated[Positive, doc("Points per endpoint on the ring.")] = 100
    max_vnode_num: Annotated[Positive, doc("Most points on the ring in all.")] = 65536
    maglev_table_size: Annotated[NotNegative, doc("Prime size of the Maglev table; 0: chosen by cluster size.")] = 0


class HashKey(Outer, frozen=True):
    """What a consistent-hash balancer hashes. The first source that has a value counts."""

    header: Annotated[str, doc("A request header.")] = ""
    cookie: Annotated[str, doc("A cookie.")] = ""
    body_field: Annotated[str, doc("A top-level field of a JSON body.")] = ""
    source_address: Annotated[bool, doc("The client's address.")] = False

    def __post_init__(self) -> None:
        if self.header and not is_field_name(self.header):
            raise ValueError(f"header: {self.header!r} is no name of a header")


class HealthCheck(Outer, frozen=True):
    """An active health check."""

    protocol: Annotated[Literal["tcp", "http", "https"], doc("How to probe.")] = "tcp"
    timeout: Annotated[Duration, doc("Time limit of one probe.")] = 1.0
    interval: Annotated[Duration, doc("Time from one probe to the next.")] = 3.0
    initial_delay_seconds: Annotated[Duration, doc("Wait before the first probe.")] = 0.0
    healthy_threshold: Annotated[Positive, doc("Good probes in a row until an endpoint is used again.")] = 5
    unhealthy_threshold: Annotated[Positive, doc("Bad probes in a row until it is left out.")] = 5
    path: Annotated[str, doc("HTTP: path to ask for.")] = "/health"
    expected_statuses: Annotated[list[int], doc("HTTP: statuses that count as healthy; empty: any 2xx.")] = []
    service_name: Annotated[str, doc("Accepted and unused, as in Pixiu.")] = ""
    check_config: Annotated[dict[str, Any], doc("Accepted and unused, as in Pixiu.")] = {}
    common_callbacks: Annotated[list[Any], doc("Accepted and unused, as in Pixiu.")] = []


class DnsSettings(Outer, frozen=True):
    """How a StrictDNS or LogicalDns cluster resolves names."""

    min_ttl: Annotated[Duration, doc("Never ask more often than this.")] = 1.0
    max_ttl: Annotated[Duration, doc("Never wait longer than this.")] = 300.0
    timeout: Annotated[Duration, doc("Time limit of one query.")] = 5.0
    servers: Annotated[list[str], doc("Name servers, ip or ip:port; empty: the system's.")] = []


class Cluster(Outer, frozen=True):
    """A named set of endpoints."""

    key_aliases: ClassVar[dict[str, str]] = {"lb": "lb_policy"}

    name: Annotated[str, doc("Name that routes use; absent: cluster-<number>.")] = ""
    type: Annotated[str, doc("Static, StrictDNS or LogicalDns. Absent, or Pixiu's EDS: Static.")] = "Static"
    lb_policy: Annotated[str, doc("A registered load balancer.")] = "Rand"
    consistent: Annotated[Consistent, doc("Sizes of the consistent-hash balancers.")] = field(
        default_factory=Consistent
    )
    hash_key: Annotated[HashKey, doc("What the consistent-hash balancers hash.")] = field(default_factory=HashKey)
    health_checks: Annotated[list[HealthCheck], doc("The first is used, as in Pixiu.")] = []
    dns: Annotated[DnsSettings, doc("How names are resolved.")] = field(default_factory=DnsSettings)
    endpoints: Annotated[list[Endpoint], doc("Its instances; their order is the order of fallback.")] = []


# --- the whole file --------------------------------------------------------------------------------------------------


class ShutdownConfig(Outer, frozen=True):
    """How the gateway ends."""

    timeout: Annotated[Duration, doc("Requests in flight may take this long to finish.")] = 60.0
    step_timeout: Annotated[Duration, doc("Accepted and unused, as in Pixiu.")] = 0.0
    reject_policy: Annotated[str, doc("Accepted and unused, as in Pixiu.")] = "immediacy"


class AdapterRef(PluginRef, frozen=True):
    """A service registry adapter."""

    family: ClassVar[Family] = Family.ADAPTER
    case_insensitive: ClassVar[bool] = True

    id: Annotated[str, doc("Name of this adapter.")] = ""
    enabled: Annotated[bool, doc('Pixiu writes it as a string: "true".')] = True


class AccessLog(Outer, frozen=True):
    """One line per exchange, after its last byte."""

    enable: Annotated[bool, doc("Write it at all.")] = True
    path: Annotated[str, doc("File to append to; - is standard output.")] = "-"
    buffer_size: Annotated[Size, doc("Bytes held before a write.")] = 1048576
    flush_interval: Annotated[Duration, doc("Longest time a line is held.")] = 0.2
    close_timeout: Annotated[Duration, doc("At the end, how long a reader that is stuck is waited for.")] = 5.0


class LogConfig(Outer, frozen=True):
    """The gateway's own log."""

    level: Annotated[Literal["", "trace", "debug", "info", "warning", "error", "critical"], doc("Lowest level.")] = ""
    format: Annotated[Literal["", "json", "console"], doc("json, or console for people.")] = ""


class StaticResources(Outer, frozen=True):
    """What the file itself declares."""

    listeners: Annotated[list[Listener], doc("Where requests come in.")] = []
    clusters: Annotated[list[Cluster], doc("Where they go.")] = []
    adapters: Annotated[list[AdapterRef], doc("Service registries.")] = []
    shutdown_config: Annotated[ShutdownConfig, doc("How the gateway ends.")] = field(default_factory=ShutdownConfig)
    pprofConf: Annotated[dict[str, Any], doc("Accepted and unused: Go's profiler.")] = {}  # noqa: N815 - Pixiu's key


class Metric(Outer, frozen=True):
    """Where Prometheus finds the gateway's metrics."""

    enable: Annotated[bool, doc("Serve them at /metrics.")] = False
    prometheus_port: Annotated[
        int, Meta(ge=0, le=65535, description="Port; 0 lets the system choose. The first of several for workers.")
    ] = 2222
    address: Annotated[str, doc("Address to listen on; whoever reaches it can read them.")] = "127.0.0.1"


class Config(Outer, frozen=True):
    """The whole of ``conf.yaml``."""

    refused_keys: ClassVar[dict[str, str]] = {
        "dynamic_resources": "xDS is not spoken here; declare listeners and clusters under static_resources",
        "wasm": "WASM filters are not run here; write a filter in Python instead (docs/plugins.md)",
        "config-center": "a remote config center is not supported; keep the file in place and reload it",
        "nacos": "Nacos is not used as a config center here",
    }

    static_resources: Annotated[StaticResources, doc("Listeners and clusters.")] = field(
        default_factory=StaticResources
    )
    node: Annotated[dict[str, Any], doc("Accepted and unused: names this instance for xDS.")] = {}
    metric: Annotated[Metric, doc("Prometheus metrics.")] = field(default_factory=Metric)
    tracing: Annotated[dict[str, Any], doc("Accepted and unused so far.")] = {}
    access_log: Annotated[AccessLog, doc("One line per exchange.")] = field(default_factory=AccessLog)
    log: Annotated[LogConfig, doc("The gateway's own log.")] = field(default_factory=LogConfig)
