"""The config block of ``dgp.filter.ai.kvcache``: Pixiu's keys with their defaults, and ours.

Keys that an index has no use for are accepted, so that an index can be changed in one line; what is asked for and cannot
be done is refused. Pixiu's 0 for "no limit" is a limit here, too: everything that is kept is bounded.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from pixiu_py.config.types import Duration, KindRef, Model, Size, check_url, doc
from pixiu_py.filters.ai.kvcache.poller import LoadConfig
from pixiu_py.registry import Family

#: Indexes that ask a controller of LMCache.
LMCACHE = ("lmcache", "lmcache-coordinator")

_Count = Annotated[int, Meta(ge=0)]
_Ratio = Annotated[float, Meta(ge=0, le=1)]
_Weight = Annotated[float, Meta(ge=0)]


class KvIndexRef(KindRef, frozen=True):
    """Which index, with its own keys: ``{type: prefix, max_chunks: 100000}``."""

    family: ClassVar[Family] = Family.KV_INDEX


class TokenCacheConfig(Model, frozen=True):
    """Tokens of prompts that have been seen."""

    enabled: Annotated[bool, doc("Keep the tokens of prompts.")] = False
    max_size: Annotated[_Count, doc("Most prompts; 0: 1024.")] = 0
    ttl: Annotated[Duration, doc("How long they are kept; 0: until there are too many.")] = 0.0


class CacheStrategyConfig(Model, frozen=True):
    """What the gateway asks the cache controller to do, in the background."""

    enable_compression: Annotated[bool, doc("Compress when the engines are busy.")] = False
    enable_pinning: Annotated[bool, doc("Pin prompts that are hot.")] = False
    enable_eviction: Annotated[bool, doc("Evict when the engines' caches are full.")] = False
    memory_threshold: Annotated[_Ratio, doc("Evict from this share of cache in use; 0: never.")] = 0.0
    load_threshold: Annotated[_Ratio, doc("Compress from this load; 0: never.")] = 0.0
    hot_content_threshold: Annotated[_Count, doc("Uses within hot_window that make a prompt hot; 0: never.")] = 0
    pin_instance_id: Annotated[str, doc("Instance to pin in; absent: the one that the lookup found.")] = ""
    pin_location: Annotated[str, doc("Location to pin in; absent: the one that the lookup found.")] = ""
    compress_instance_id: Annotated[str, doc("Instance to compress in; absent: the one that the lookup found.")] = ""
    compress_location: Annotated[str, doc("Location to compress in; absent: the one that the lookup found.")] = ""
    compress_method: Annotated[str, doc("Method of compression.")] = "zstd"
    evict_instance_id: Annotated[str, doc("Instance to evict from; absent: the one that the lookup found.")] = ""


class RetryConfig(Model, frozen=True):
    """Further tries of background calls. Within the routing budget there is one try and no pause."""

    max_attempts: Annotated[_Count, doc("Tries of one call; 0 means 1.")] = 3
    base_backoff: Annotated[Duration, doc("Pause before the second try; doubled for each further one.")] = 0.1
    max_backoff: Annotated[Duration, doc("Longest pause.")] = 2.0


class CircuitBreakerConfig(Model, frozen=True):
    """When a service that keeps failing is left alone; one breaker per kind of call."""

    failure_threshold: Annotated[_Count, doc("Failures in a row that open it; 0: 5.")] = 5
    recovery_timeout: Annotated[Duration, doc("How long it stays open; 0: 10s.")] = 10.0
    half_open_max_calls: Annotated[_Count, doc("Trial calls afterwards; 0: 2.")] = 2


class ScoreConfig(Model, frozen=True):
    """How cached tokens are weighed against load. A weight says how many uncached tokens one unit of load is worth."""

    min_match: Annotated[_Count, doc("Fewer matched tokens than this count as none.")] = 64
    cold: Annotated[
        Literal["score", "balancer"],
        doc("Who places a prompt that no endpoint knows: the load alone, or the balancer."),
    ] = "score"
    pending_weight: Annotated[_Weight, doc("Per uncached token that was sent there and is not answered yet.")] = 0.06
    shared_pending_weight: Annotated[
        _Weight, doc("The same, while other requests that are not answered yet have the matched prefix.")
    ] = 2.0
    in_flight_weight: Annotated[_Weight, doc("Per request that this gateway has under way there.")] = 32.0
    waiting_weight: Annotated[_Weight, doc("Per request that waits in the engine, as its metrics say.")] = 128.0
    usage_weight: Annotated[_Weight, doc("For a KV cache that is all in use; less for less.")] = 256.0
    overload_weight: Annotated[_Weight, doc("Per token of work above what is no overload yet.")] = 2.0
    overload_slack: Annotated[float, Meta(ge=1, description="So many times the mean work is no overload yet.")] = 1.15
    overload_floor: Annotated[_Weight, doc("Nor is so much work, whatever the others have.")] = 65536.0
    overload_prompts: Annotated[
        _Weight, doc("Nor is the mean and so many prompts of this length: chance alone does that.")
    ] = 4.0
    work_weight: Annotated[_Weight, doc("Per token of work; decides between equals.")] = 0.02
    work_memory: Annotated[
        Duration, Meta(gt=0, description="Work counts what was sent within about this time; older work fades.")
    ] = 300.0
    request_work: Annotated[_Weight, doc("Work of a request besides its uncached tokens, for the decoding.")] = 512.0


class SpillConfig(Model, frozen=True):
    """Where requests go when every other endpoint is saturated."""

    endpoints: Annotated[list[str], doc("Ids of endpoints that are asked only then, or when all others failed.")] = []
    waiting: Annotated[
        int, Meta(ge=1, description="An endpoint in which so many requests wait is saturated, as its metrics say.")
    ] = 8
    in_flight: Annotated[
        _Count, doc("An endpoint with so many requests of this gateway under way is saturated; 0: never.")
    ] = 0


class KvCacheConfig(Model, frozen=True):
    """Keys of ``dgp.filter.ai.kvcache``."""

    enabled: Annotated[bool, doc("Route by cache; false: requests pass untouched.")] = False
    vllm_endpoint: Annotated[str, doc("Base URL of the tokenizer; absent: the endpoints themselves.")] = ""
    lmcache_endpoint: Annotated[str, doc("Base URL of LMCache's controller or coordinator.")] = ""
    index: Annotated[
        KvIndexRef | None,
        doc("What knows where a prefix is cached; absent: lmcache with lmcache_endpoint, else prefix."),
    ] = None
    instances: Annotated[
        dict[str, list[str]], doc("Instance id of an index → the ids of its endpoints, where they are not the same.")
    ] = {}
    default_model: Annotated[str, doc("The model of requests that name none.")] = ""
    request_timeout: Annotated[Duration, doc("Time for a background call; 0: 2s.")] = 2.0
    lookup_routing_timeout: Annotated[Duration, doc("Most time a request may wait for the index; 0: 50ms.")] = 0.05
    max_body_size: Annotated[Size, doc("Largest request body that is looked at.")] = 32 * 2**20
    score: Annotated[ScoreConfig, doc("How cached tokens are weighed against load.")] = field(
        default_factory=ScoreConfig
    )
    spill: Annotated[SpillConfig, doc("Where requests go when every other endpoint is saturated.")] = field(
        default_factory=SpillConfig
    )
    load: Annotated[LoadConfig, doc("How the load of engines is measured.")] = field(default_factory=LoadConfig)
    route_header: Annotated[
        Literal["never", "asked", "always"],
        doc("Tell in x-pixiu-route why an endpoint was chosen: never, to who sends that header, or always."),
    ] = "never"
    hot_window: Annotated[Duration, doc("Within this time uses of a prompt are counted; 0: 5m.")] = 300.0
    hot_max_records: Annotated[_Count, doc("Most uses that are remembered per prompt; 0: 300.")] = 300
    hot_max_keys: Annotated[_Count, doc("Most prompts whose uses are counted; 0: 10000.")] = 0
    max_idle_conns: Annotated[_Count, doc("Connections to services in all; 0: 100.")] = 0
    max_idle_conns_per_host: Annotated[_Count, doc("Accepted; max_conns_per_host is what counts.")] = 0
    max_conns_per_host: Annotated[_Count, doc("Connections per service; 0: no limit but the total.")] = 0
    token_cache: Annotated[TokenCacheConfig, doc("Tokens of prompts that have been seen.")] = field(
        default_factory=TokenCacheConfig
    )
    cache_strategy: Annotated[CacheStrategyConfig, doc("What the cache controller is asked to do.")] = field(
        default_factory=CacheStrategyConfig
    )
    retry: Annotated[RetryConfig, doc("Further tries of background calls.")] = field(default_factory=RetryConfig)
    circuit_breaker: Annotated[CircuitBreakerConfig, doc("When a failing service is left alone.")] = field(
        default_factory=CircuitBreakerConfig
    )

    def __post_init__(self) -> None:
        if not self.enabled:
            return
        kind = self.kind
        if kind in LMCACHE and not self.lmcache_endpoint.strip():
            raise ValueError(f"the index {kind} needs lmcache_endpoint")
        strategy = self.cache_strategy
        wanted = strategy.enable_compression or strategy.enable_pinning or strategy.enable_eviction
        if wanted and kind not in LMCACHE:
            raise ValueError(f"cache_strategy needs a cache controller, and the index {kind} has none")
        if kind == "lmcache" and strategy.enable_eviction and not strategy.evict_instance_id:
            raise ValueError(
                "LMCache's controller has no /evict: what comes near is to clear a whole location of one instance; "
                "name it in cache_strategy.evict_instance_id, or switch enable_eviction off"
            )
        if kind == "lmcache-coordinator" and strategy.enable_compression:
            raise ValueError("LMCache's coordinator cannot compress: switch cache_strategy.enable_compression off")
        for key, url in (("vllm_endpoint", self.vllm_endpoint), ("lmcache_endpoint", self.lmcache_endpoint)):
            if url.strip():
                check_url(key, url)

    @property
    def kind(self) -> str:
        """The kind of index that is used."""
        if self.index is not None:
            return self.index.name
        return "lmcache" if self.lmcache_endpoint.strip() else "prefix"

    @property
    def routing_budget(self) -> float:
        """Seconds that a request may wait for the index."""
        return self.lookup_routing_timeout or 0.05
