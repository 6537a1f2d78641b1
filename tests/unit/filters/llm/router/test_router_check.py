"""Names that are misspelt are found when the file is read, each in its place and with what was probably meant."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from pixiu_py.config.load import load_text
from pixiu_py.errors import ConfigError
from tests.fakes.conf import endpoint, http_filter, llm_conf
from tests.fakes.kinds import REGISTRY

ROUTE = {"name": "code", "description": "", "models": ["big", "small"]}


def read(router: dict[str, Any], *served: list[str], **more: Any) -> tuple[list[str], list[str]]:
    """Problems and warnings about a router's block, by their paths in it; one endpoint for each list of models."""
    endpoints = [endpoint(9, str(index), models=models) for index, models in enumerate(served)]
    text = llm_conf(*endpoints, filters=[http_filter("dgp.filter.llm.router", **router)], **more)
    try:
        return [], [_shown(warning) for warning in load_text(text, REGISTRY).warnings]
    except ConfigError as error:
        return [_shown(problem) for problem in error.problems], []


def _shown(problem: Any) -> str:
    assert problem.line, "it has no place"
    return f"{problem.path.partition('.http_filters[0].config.')[2]}: {problem.message}"


def test_models_that_nobody_serves() -> None:
    """Wherever they stand; an alias is judged by what it stands for."""
    router = {
        "default_model": "smal",
        "model_aliases": {"fast": {"target": "small"}, "best": {"target": "huge"}},
        "routing_preferences": [{**ROUTE, "models": ["big", "fast", "best", "bigg"]}],
    }
    problems, _ = read(router, ["big"], ["small"])
    assert sorted(problems) == [
        "default_model: No endpoint serves the model 'smal'; did you mean 'small'?",
        "model_aliases.best.target: No endpoint serves the model 'huge'",
        "routing_preferences[0].models[3]: No endpoint serves the model 'bigg'; did you mean 'big'?",
    ]


def test_names_that_lead_astray_are_all_told() -> None:
    """Routes that are there twice, aliases of aliases and in circles, and headers that nobody can send: each in its place."""
    router = {
        "model_aliases": {"a": {"target": "b"}, "b": {"target": "a"}, "c": {"target": "c"}, "d": {"target": "big"}},
        "routing_preferences": [ROUTE, {**ROUTE, "name": "other"}, ROUTE],
        "routing": {"session_header": "X-Session:", "session_cache": {"tenant_header": "X Tenant"}},
    }
    problems, _ = read(router, ["big", "small"])
    assert sorted(problems) == [
        "model_aliases.a.target: alias 'a' stands for 'b', which is an alias itself",
        "model_aliases.b.target: alias 'b' stands for 'a', which is an alias itself",
        "model_aliases.c.target: alias 'c' stands for 'c', which is an alias itself",
        "routing.session_cache.tenant_header: 'X Tenant' is no name of a header",
        "routing.session_header: 'X-Session:' is no name of a header",
        "routing_preferences[2].name: route 'code' is there twice",
    ]


def test_place_of_a_name_is_told() -> None:
    """Line and column are those of the name itself."""
    text = llm_conf(
        endpoint(9, "e", models=["big", "small"]),
        filters=[http_filter("dgp.filter.llm.router", routing_preferences=[{**ROUTE, "models": ["bigg"]}])],
    )
    text = yaml.safe_dump(yaml.safe_load(text), sort_keys=False)
    lines = text.splitlines()
    line = next(number for number, line in enumerate(lines, 1) if "- bigg" in line)
    column = lines[line - 1].index("bigg") + 1
    with pytest.raises(ConfigError) as caught:
        load_text(text, REGISTRY, file="conf.yaml")
    message = str(caught.value)
    assert message.startswith(f"conf.yaml:{line}:{column}: static_resources.listeners[0].")
    assert message.partition(".http_filters[0].")[2] == (
        "config.routing_preferences[0].models[0]: No endpoint serves the model 'bigg'; did you mean 'big'?"
    )


def test_endpoint_that_serves_anything_serves_these() -> None:
    """And where there is no endpoint yet, nobody can say."""
    router = {"default_model": "nowhere", "routing_preferences": [ROUTE]}
    assert read(router, ["big"], []) == ([], [])
    assert read(router) == ([], [])


def test_cluster_of_a_router_model() -> None:
    """It must be there, and serve the model."""
    routers = {"name": "routers", "endpoints": [endpoint(9, "r", models=["arch"])]}
    for block, path in (({"router": {}}, "router"), ({"deciders": [{"type": "llm"}]}, "deciders[0]")):
        config: dict[str, Any] = {"routing_preferences": [ROUTE], **block}
        keys = config["router"] if "router" in block else config["deciders"][0]
        keys.update(cluster="router", model="arch")
        problems, _ = read(config, [], clusters=[routers])
        assert problems == [f"{path}.cluster: No cluster is named 'router'; did you mean 'routers'?"]
        keys.update(cluster="routers", model="arc")
        problems, _ = read(config, [], clusters=[routers])
        assert problems == [f"{path}.model: No endpoint serves the model 'arc'; did you mean 'arch'?"]
        keys.update(model="arch")
        assert read(config, [], clusters=[routers]) == ([], [])


def test_clusters_whose_models_are_listed() -> None:
    problems, _ = read({"models": {"clusters": ["mian"]}}, [])
    assert problems == ["models.clusters[0]: No cluster is named 'mian'; did you mean 'main'?"]


def test_rule_for_a_route_that_is_not_there_is_worth_a_warning() -> None:
    """A request could bring such a route along. An empty name is none."""
    rules = [{"route": "cod", "keywords": ["code"]}, {"route": "", "keywords": ["x"]}, {"route": "code"}]
    router = {"routing_preferences": [ROUTE], "deciders": [{"type": "rules", "rules": rules}]}
    _, warnings = read(router, [])
    assert warnings == ["deciders[0].rules[0].route: No route is named 'cod'; did you mean 'code'?"]


def test_model_without_a_price_is_worth_a_warning_where_the_cheapest_is_wanted() -> None:
    """It is never that. Aliases are resolved, and a name counts without what stands before its slash."""
    cheapest = {**ROUTE, "models": ["big", "fast", "acme/tiny"], "selection_policy": {"prefer": "cheapest"}}
    prices = {name: {"input": 1, "output": 1} for name in ("small", "tiny")}
    router = {
        "model_aliases": {"fast": {"target": "small"}},
        "routing_preferences": [ROUTE | {"name": "other"}, cheapest],
        "model_metrics_sources": [{"type": "cost", "provider": "static", "prices": prices}],
    }
    _, warnings = read(router, [])
    assert warnings == ["routing_preferences[1].models[0]: No price is given for 'big', so it comes last"]
