"""Names that Pixiu knows and this gateway does not speak, each with a sentence: why, and what to use instead.

A registered plugin always wins over an entry here, so a drop-in plugin can bring any of them back.
"""

from __future__ import annotations

from pixiu_py.registry import Family

_DUBBO = "Dubbo and Triple are not spoken here; call the service's HTTP interface with dgp.filter.http.httpproxy"
_GRPC = "gRPC is not spoken here; put a gRPC proxy beside this gateway, or call an HTTP interface of the service"
_XDS = "xDS is not spoken here; declare listeners and clusters under static_resources"
_REMOVED = "Pixiu has removed this filter, too; delete the entry"
_API = "API definitions are not used here; declare routes under route_config"
_LATER = "not in this version; delete the entry, or write a filter in Python (docs/plugins.md)"
_MCP = "MCP servers are not hosted here; route to one with dgp.filter.http.httpproxy"

#: (family, kind) → what to tell whoever asks for it.
UNSUPPORTED: dict[tuple[Family, str], str] = {
    (Family.NETWORK_FILTER, "dgp.filter.grpcconnectionmanager"): _GRPC,
    (Family.NETWORK_FILTER, "dgp.filter.network.grpcconnectionmanager"): _GRPC,
    (Family.NETWORK_FILTER, "dgp.filter.grpc.proxy"): _GRPC,
    (Family.NETWORK_FILTER, "dgp.filter.network.dubboconnectionmanager"): _DUBBO,
    (Family.HTTP_FILTER, "dgp.filter.dubbo.http"): _DUBBO,
    (Family.HTTP_FILTER, "dgp.filter.dubbo.proxy"): _DUBBO,
    (Family.HTTP_FILTER, "dgp.filter.http.dubboproxy"): _DUBBO,
    (Family.HTTP_FILTER, "dgp.filter.http.directdubboproxy"): _DUBBO,
    (Family.HTTP_FILTER, "dgp.filter.http.grpcproxy"): _GRPC,
    (Family.HTTP_FILTER, "dgp.filter.http.apiconfig"): _API,
    (Family.HTTP_FILTER, "dgp.filter.http.loadbalance"): (
        "backends come from clusters here; list them as endpoints, and name a balancer with lb_policy"
    ),
    (Family.HTTP_FILTER, "dgp.filter.http.webassembly"): (
        "WASM filters are not run here; write the filter in Python instead (docs/plugins.md)"
    ),
    (Family.HTTP_FILTER, "dgp.filter.http.auth.saml"): (
        "SAML is not spoken here; put an identity proxy that issues JWTs in front, and check them with "
        "dgp.filter.http.auth.jwt"
    ),
    (Family.HTTP_FILTER, "dgp.filter.http.opa"): (
        "Open Policy Agent is not asked here; write the decision as a filter in Python (docs/plugins.md)"
    ),
    (Family.HTTP_FILTER, "dgp.filter.http.event"): (
        "message queues are not published to here; write a filter in Python that does (docs/plugins.md)"
    ),
    (Family.HTTP_FILTER, "dgp.filter.http.seata"): "distributed transactions (Seata) are not supported here",
    (Family.HTTP_FILTER, "dgp.filter.seata"): "distributed transactions (Seata) are not supported here",
    (Family.HTTP_FILTER, "dgp.filter.mcp.mcpserver"): _MCP,
    (Family.HTTP_FILTER, "dgp.filter.http.auth.mcp"): (
        "MCP authorization is not spoken here; check the tokens with dgp.filter.http.auth.jwt"
    ),
    (Family.HTTP_FILTER, "dgp.filter.http.metricreporter"): (
        "use dgp.filter.http.metric, and let Prometheus scrape the port of `metric`"
    ),
    (Family.HTTP_FILTER, "dgp.filters.tracing"): f"tracing is {_LATER}",
    (Family.HTTP_FILTER, "dgp.filter.http.recovery"): _REMOVED,
    (Family.HTTP_FILTER, "dgp.filter.http.response"): _REMOVED,
    (Family.HTTP_FILTER, "dgp.filter.http.timeout"): _REMOVED,
    (Family.ADAPTER, "dgp.adapter.springcloud"): (
        "Spring Cloud discovery is not supported here; use a StrictDNS cluster or static endpoints"
    ),
    (Family.ADAPTER, "dgp.adapter.dubboregistrycenter"): _DUBBO,
    (Family.ADAPTER, "dgp.adapter.llmregistrycenter"): (
        "Nacos is not asked for endpoints in this version; list them in a cluster"
    ),
    (Family.ADAPTER, "dgp.adapter.mcpserver"): _MCP,
    (Family.ADAPTER, "dgp.adapter.xdsdiscover"): _XDS,
    (Family.LISTENER, "HTTP2"): (
        "HTTP/2 is not spoken to clients here; use HTTP or HTTPS, or let a proxy in front end the HTTP/2 connections"
    ),
    (Family.LISTENER, "GRPC"): _GRPC,
    (Family.LISTENER, "TRIPLE"): _DUBBO,
    (Family.LISTENER, "TCP"): "plain TCP is not forwarded here; the listener types are HTTP and HTTPS",
    (Family.LISTENER, "UDP"): "UDP is not spoken here; the listener types are HTTP and HTTPS",
    (Family.CLUSTER, "OriginalDst"): (
        "transparent proxying is not supported here; list the endpoints in a Static cluster, or name one for StrictDNS"
    ),
}
