"""The keys of ``routing``: where sessions are kept is any store, with that store's own keys beside its type."""

from __future__ import annotations

from typing import Any

import pytest

from pixiu_py.filters.llm.router.session import build_affinity
from pixiu_py.filters.llm.router.session_model import Routing
from pixiu_py.registry import Family
from pixiu_py.stores.memory import MemoryConfig
from pixiu_py.stores.redis import RedisConfig
from tests.fakes.conf import conf, http_filter
from tests.fakes.exchange import make_context
from tests.fakes.kinds import decoded, of, problems_of

(ROUTER,) = [entry for entry in of(Family.HTTP_FILTER) if entry.kind == "dgp.filter.llm.router"]


PRICES = [{"type": "cost", "provider": "static", "prices": {"big": {"input": 3, "output": 15}}}]


def routing(**keys: Any) -> Routing:
    """The block, read as from a file."""
    found: Routing = decoded(ROUTER, {"routing": keys, "model_metrics_sources": PRICES}).routing
    return found


def problems(**keys: Any) -> list[str]:
    """What is wrong with the block."""
    filters = [http_filter("dgp.filter.llm.router", routing=keys), http_filter("dgp.filter.llm.mock")]
    return [problem.message for problem in problems_of(conf(filters=filters))]


def test_what_is_not_said() -> None:
    block = routing()
    assert (block.session_header, block.session_mode, block.session_ttl_seconds) == ("X-Model-Affinity", "pin", 600)
    assert (block.session_max_entries, block.session_ttl, block.implicit_sessions) == (10_000, "fixed", False)
    assert block.session_cache.name == "memory"
    assert block.session_cache.config == MemoryConfig()
    assert block.routing_budget.max_switch_spend_pct == 25.0


def test_redis_has_its_own_keys() -> None:
    cache = routing(session_cache={"type": "redis", "url": "redis://:p@h/1", "timeout": "50ms", "tenant_header": "x-t"})
    assert cache.session_cache.tenant_header == "x-t"
    config = cache.session_cache.config
    assert isinstance(config, RedisConfig)
    assert config.timeout == 0.05
    assert config.url.reveal() == "redis://:p@h/1"
    assert ":p@" not in repr(cache)


def test_tenants_need_no_other_key() -> None:
    cache = routing(session_cache={"tenant_header": "x-t"}).session_cache
    assert (cache.name, cache.tenant_header) == ("memory", "x-t")


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"session_cache": {"type": "redi"}}, "Unknown store 'redi'; did you mean 'redis'?"),
        ({"session_cache": {"type": "redis"}}, "This key is required"),
        ({"session_cache": {"type": "redis", "url": "nowhere"}}, "url: Expected redis://HOST, rediss://HOST or unix:///PATH"),
        ({"session_cache": {"max_entries": 5}}, "session_cache.max_entries: The key for this is session_max_entries"),
        ({"session_mode": "budget"}, "session_mode budget weighs prices, but no source tells them"),
        ({"session_ttl_seconds": -1}, "Expected int >= 0, got -1"),
        ({"session_header": ""}, "Expected str of length >= 1, got str"),
        ({"routing_budget": {"max_switch_spend_pct": 101}}, "Expected float <= 100.0, got 101"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(keys: dict[str, Any], problem: str) -> None:
    assert problems(**keys) == [problem]


def test_each_mode_can_be_built() -> None:
    for mode in ("pin", "user-turn", "budget"):
        build_affinity(routing(session_mode=mode), make_context(), None)  # type: ignore[arg-type]
