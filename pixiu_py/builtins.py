"""The built-in plugins: every module that holds some, in one list. To add a module, add a line."""

from __future__ import annotations

MODULES: tuple[str, ...] = (
    # listeners and network filters
    "pixiu_py.listeners.http",
    "pixiu_py.http.connection_manager",
    # HTTP filters
    "pixiu_py.filters.http.accesslog",
    "pixiu_py.filters.http.authority",
    "pixiu_py.filters.http.circuitbreaker",
    "pixiu_py.filters.http.cors",
    "pixiu_py.filters.http.csrf",
    "pixiu_py.filters.http.faultinjection",
    "pixiu_py.filters.http.header",
    "pixiu_py.filters.http.host",
    "pixiu_py.filters.http.httpproxy",
    "pixiu_py.filters.http.jwt.filter",
    "pixiu_py.filters.http.metric",
    "pixiu_py.filters.http.prometheusmetric",
    "pixiu_py.filters.http.proxyrewrite",
    "pixiu_py.filters.http.ratelimit",
    "pixiu_py.filters.http.traffic",
    "pixiu_py.filters.ai.kvcache.filter",
    "pixiu_py.filters.llm.mock.filter",
    "pixiu_py.filters.llm.promptcache.filter",
    "pixiu_py.filters.llm.proxy.filter",
    "pixiu_py.filters.llm.router.filter",
    "pixiu_py.filters.llm.router.llm",
    "pixiu_py.filters.llm.router.rules",
    "pixiu_py.filters.llm.router.similarity",
    "pixiu_py.filters.llm.tokenizer",
    # clusters and load balancers
    "pixiu_py.clusters.discovery.static",
    "pixiu_py.clusters.discovery.dns",
    "pixiu_py.clusters.balancers.rand",
    "pixiu_py.clusters.balancers.round_robin",
    "pixiu_py.clusters.balancers.weight_random",
    "pixiu_py.clusters.balancers.least_request",
    "pixiu_py.clusters.balancers.ring_hashing",
    "pixiu_py.clusters.balancers.maglev_hashing",
    # indexes of dgp.filter.ai.kvcache
    "pixiu_py.filters.ai.kvcache.index.prefix",
    "pixiu_py.filters.ai.kvcache.index.lmcache",
    "pixiu_py.filters.ai.kvcache.index.lmcache_coordinator",
    "pixiu_py.filters.ai.kvcache.index.kv_events",
    # stores
    "pixiu_py.stores.memory",
    "pixiu_py.stores.redis",
    "pixiu_py.stores.promptcache.memory",
    "pixiu_py.stores.promptcache.sqlite",
    "pixiu_py.stores.promptcache.postgres",
    "pixiu_py.stores.promptcache.redis",
    "pixiu_py.stores.ledger.sqlite",
    "pixiu_py.stores.ledger.postgres",
    # retry policies
    "pixiu_py.upstream.retry",
)
