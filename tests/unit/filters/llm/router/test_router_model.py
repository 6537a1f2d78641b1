"""What is wrong with a router's configuration is said before it starts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.conf import conf, http_filter
from tests.fakes.kinds import problems_of

CODE = {"name": "code", "description": "program code", "models": ["big", "small"]}
PRICES = {"type": "cost", "provider": "static", "prices": {"big": {"input": 1, "output": 2}}}


def problems(**config: Any) -> list[str]:
    """What the reader says."""
    filters = [http_filter("dgp.filter.llm.router", **config), http_filter("dgp.filter.llm.mock")]
    return [problem.message for problem in problems_of(conf(filters=filters))]


def test_the_documented_configuration_is_read() -> None:
    """Every key of the sample in the guide."""
    assert not problems(
        default_model="small",
        model_aliases={"fast": {"target": "small"}},
        routing_preferences=[{**CODE, "selection_policy": {"prefer": "none"}}],
        router={"endpoint": "http://127.0.0.1:9009/v1", "model": "router", "timeout": "2s"},
        routing={
            "session_header": "X-Model-Affinity",
            "session_mode": "pin",
            "session_ttl_seconds": 600,
            "session_max_entries": 10000,
            "session_cache": {"type": "memory", "tenant_header": "X-Tenant"},
        },
    )


@pytest.mark.parametrize("policy", [None, {"prefer": None}, {"prefer": ""}, {"prefer": "fastest"}])
def test_policy_may_be_left_empty(policy: Any) -> None:
    """Null and an empty text mean none; the fastest needs no source, as this gateway measures itself."""
    assert not problems(routing_preferences=[{**CODE, "selection_policy": policy}])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"routing_preferences": [CODE, CODE]}, "route 'code' is there twice"),
        ({"routing_preferences": [{**CODE, "models": []}]}, "length >= 1"),
        ({"routing_preferences": [{**CODE, "selection_policy": {"prefer": "random"}}]}, "random"),
        ({"routing_preferences": [{**CODE, "selection_policy": {"prefer": "cheapest"}}]}, "no source tells prices"),
        ({"model_aliases": {"a": {"target": "b"}, "b": {"target": "c"}}}, "an alias itself"),
        ({"router": {"model": "m"}}, "either endpoint or cluster"),
        ({"router": {"endpoint": "http://h/v1", "cluster": "c"}}, "either endpoint or cluster"),
        ({"router": {"endpoint": "h:80/v1"}}, "begins with http"),
        ({"router": {"endpoint": "http://u:p@h/v1", "api_key": "k"}}, "two credentials"),
        ({"router": {"endpoint": "http://h:0/v1"}}, "Expected a URL"),
        ({"router": {"cluster": "c", "api_key": "k"}}, "api_key goes with endpoint"),
        ({"model_metrics_sources": [PRICES, PRICES]}, "source of type 'cost' is there twice"),
        ({"model_metrics_sources": [{"type": "cost", "provider": "prometheus"}]}, "type cost has one of"),
        ({"model_metrics_sources": [{"type": "cost", "provider": "static"}]}, "static needs prices"),
        ({"model_metrics_sources": [{"type": "cost", "provider": "models.dev"}]}, "either url or file"),
        ({"model_metrics_sources": [{"type": "latency", "provider": "prometheus", "url": "http://h"}]}, "and query"),
        ({"deciders": [{"type": "rule", "rules": []}]}, "did you mean 'rules'"),
        ({"routing": {"session_mode": "sticky"}}, "sticky"),
    ],
)
def test_mistakes_are_refused(config: dict[str, Any], message: str) -> None:
    """With what is wrong, and what is there instead."""
    assert message in problems(**config)[0]
