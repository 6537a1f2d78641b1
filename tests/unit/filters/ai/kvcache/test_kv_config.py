"""The config block: Pixiu's keys and defaults, the choice of an index, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from pixiu_py.filters.ai.kvcache.config import KvCacheConfig, KvIndexRef
from pixiu_py.registry import Family
from tests.fakes.conf import Block, conf, http_filter
from tests.fakes.kinds import FILTERS, decoded, problems_of

(ENTRY,) = [entry for entry in FILTERS if entry.kind == "dgp.filter.ai.kvcache"]
LMCACHE = "http://127.0.0.1:9000"


def load(**block: Any) -> KvCacheConfig:
    """The block as it is read from a file."""
    config: KvCacheConfig = decoded(ENTRY, block)
    return config


def problems(**block: Any) -> list[str]:
    """``path: message`` of what is wrong with a block."""
    mock = http_filter("dgp.filter.llm.mock")
    found = problems_of(conf(filters=[http_filter(ENTRY.kind, **block), mock]))
    return [
        f"{problem.path.partition('.config.http_filters[0].config')[2][1:]}: {problem.message}" for problem in found
    ]


def test_the_defaults_are_pixius() -> None:
    """Where Pixiu means "no limit" by 0, the limit is in the key's description."""
    config = load()
    assert not config.enabled
    assert (config.request_timeout, config.lookup_routing_timeout) == (2.0, 0.05)
    assert (config.hot_window, config.hot_max_records, config.hot_max_keys) == (300.0, 300, 0)
    assert (config.retry.max_attempts, config.retry.base_backoff, config.retry.max_backoff) == (3, 0.1, 2.0)
    breaker = config.circuit_breaker
    assert (breaker.failure_threshold, breaker.recovery_timeout, breaker.half_open_max_calls) == (5, 10.0, 2)
    assert config.cache_strategy.compress_method == "zstd"
    assert not config.token_cache.enabled


def test_every_key_of_pixiu_is_read() -> None:
    """A block with all of them."""
    strategy: Block = {
        **dict.fromkeys(("enable_compression", "enable_pinning"), True),
        **dict.fromkeys(("memory_threshold", "load_threshold"), 0.5),
        **dict.fromkeys(("pin_instance_id", "pin_location", "compress_instance_id", "compress_location"), "x"),
        "hot_content_threshold": 3,
        "compress_method": "cachegen",
        "evict_instance_id": "x",
    }
    config = load(
        enabled=True,
        vllm_endpoint="http://127.0.0.1:8000",
        lmcache_endpoint=LMCACHE,
        default_model="m",
        request_timeout="1s",
        lookup_routing_timeout="0",
        hot_window="1m",
        hot_max_records=5,
        hot_max_keys=5,
        max_idle_conns=1,
        max_idle_conns_per_host=1,
        max_conns_per_host=1,
        token_cache={"enabled": True, "max_size": 1024, "ttl": "10m"},
        cache_strategy=strategy,
        retry={"max_attempts": 0, "base_backoff": "1ms", "max_backoff": "1s"},
        circuit_breaker={"failure_threshold": 1, "recovery_timeout": "1s", "half_open_max_calls": 1},
    )
    assert config.token_cache.ttl == 600.0
    assert config.cache_strategy.load_threshold == 0.5
    assert config.routing_budget == 0.05


@pytest.mark.parametrize(
    ("block", "kind"),
    [
        ({}, "prefix"),
        ({"vllm_endpoint": "http://127.0.0.1:8000"}, "prefix"),
        ({"lmcache_endpoint": LMCACHE}, "lmcache"),
        ({"lmcache_endpoint": LMCACHE, "index": {"type": "prefix"}}, "prefix"),
    ],
)
def test_the_index_is_chosen(block: Block, kind: str) -> None:
    """By its type; else a controller's address says that there is one."""
    assert load(**block).kind == kind


def test_an_index_has_a_block_of_its_own() -> None:
    """Read as strictly as any other."""
    config = load(index={"type": "prefix", "max_chunks": 100})
    assert config.index is not None
    assert config.index.config.max_chunks == 100
    assert problems(index={"type": "prefix", "max_chunk": 100}) == [
        "index.max_chunk: Unknown key; did you mean 'max_chunks'?"
    ]


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ({"index": {"type": "prefx"}}, f"index.type: Unknown {Family.KV_INDEX.value} 'prefx'; did you mean 'prefix'?"),
        ({"index": {}}, "index.type: This key is required"),
        ({"cache_strategy": {"memory_threshold": 1.5}}, "cache_strategy.memory_threshold: Expected float <= 1.0"),
        ({"hot_max_keys": -1}, "hot_max_keys: Expected int >= 0"),
        ({"request_timeout": "-1s"}, "request_timeout: Expected a duration"),
        (
            {"enabled": True, "cache_strategy": {"enable_pinning": True}},
            ": cache_strategy needs a cache controller, and the index prefix has none",
        ),
        ({"enabled": True, "vllm_endpoint": "127.0.0.1:8000"}, ": vllm_endpoint: Expected a URL"),
    ],
)
def test_what_cannot_be_is_refused(block: Block, problem: str) -> None:
    """With the key at fault."""
    (found,) = problems(**block)
    assert found.startswith(problem)


def test_an_index_that_asks_a_controller_needs_its_address() -> None:
    """Only when it is enabled, as in Pixiu."""
    with pytest.raises(ValueError, match="lmcache needs lmcache_endpoint"):
        KvCacheConfig(enabled=True, index=KvIndexRef(name="lmcache"))
    KvCacheConfig(enabled=False, index=KvIndexRef(name="lmcache"))
