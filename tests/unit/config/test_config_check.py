"""Rules across blocks. The messages themselves are in tests/golden/bad_rules.txt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from pixiu_py.config.load import load_text
from pixiu_py.config.model import Cluster
from pixiu_py.config.report import BlockReport
from pixiu_py.config.types import Model
from pixiu_py.errors import ConfigError, Problem
from pixiu_py.filters.base import HttpFilter
from pixiu_py.registry import Family, plugin
from tests.fakes.config_kinds import load, problems, small_registry

Block = dict[str, Any]
ROUTES = "static_resources.listeners[0].filter_chains.filters[0].config.route_config.routes"
FILTERS = "static_resources.listeners[0].filter_chains.filters[0].config.http_filters"
CLUSTER = "static_resources.clusters[0]"
PROXY: Block = {"name": "dgp.filter.llm.proxy"}
CACHE: Block = {"name": "dgp.filter.ai.kvcache"}


class PickyConfig(Model, frozen=True):
    """Keys of ``Picky``."""

    wants: str


def conf(
    *clusters: Block, routes: list[Block] | None = None, filters: list[Block] | None = None, **listener: Any
) -> str:
    """A sound configuration, apart from what is given."""
    manager: Block = {
        "route_config": {"routes": [{"match": {"prefix": "/"}, "route": {}}] if routes is None else routes},
        "http_filters": [PROXY] if filters is None else filters,
    }
    chain = {"filters": [{"name": "dgp.filter.httpconnectionmanager", "config": manager}]}
    first: Block = {"address": {"socket_address": {"port": 0}}, "filter_chains": chain, **listener}
    return yaml.safe_dump({"static_resources": {"listeners": [first], "clusters": list(clusters)}})


def cluster(name: str = "a", **keys: Any) -> Block:
    return {"name": name, "endpoints": [{"socket_address": {"port": 80}}], **keys}


def route(to: str = "", **match: Any) -> Block:
    return {"match": match or {"prefix": "/"}, "route": {"cluster": to}}


def paths(text: str) -> list[str]:
    return [problem.partition(": ")[0] for problem in problems(text)]


def first_cluster(**keys: Any) -> Cluster:
    return load(conf(cluster(**keys))).config.static_resources.clusters[0]


def test_the_base_of_these_tests_is_sound() -> None:
    assert load(conf(cluster())).warnings == []


# --- listeners -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["HTTP", "http", "HTTPS"])
def test_the_protocols_that_are_spoken(protocol: str) -> None:
    assert problems(conf(protocol_type=protocol, address={"socket_address": {"certs_dir": "c"}})) == []


@pytest.mark.parametrize("protocol", ["HTTP2", "TRIPLE", "GRPC", "TCP", "UDP"])
def test_the_protocols_of_pixiu_that_are_not(protocol: str) -> None:
    [problem] = problems(conf(protocol_type=protocol))
    assert problem.startswith("static_resources.listeners[0].protocol_type: ")
    assert " here" in problem
    assert "Unknown" not in problem


def test_https_needs_certificates() -> None:
    assert paths(conf(protocol_type="HTTPS")) == ["static_resources.listeners[0].address.socket_address.certs_dir"]


def listeners(*addresses: tuple[str, int]) -> str:
    document = yaml.safe_load(conf())
    first = document["static_resources"]["listeners"][0]
    document["static_resources"]["listeners"] = [
        {**first, "address": {"socket_address": {"address": address, "port": port}}} for address, port in addresses
    ]
    return yaml.safe_dump(document)


def test_two_listeners_cannot_share_an_address() -> None:
    assert paths(listeners(("::1", 80), ("127.0.0.1", 80), ("::1", 80))) == ["static_resources.listeners[2].address"]


def test_listeners_may_all_leave_their_port_to_the_system() -> None:
    assert problems(listeners(("::1", 0), ("::1", 0))) == []


def test_without_listener_there_is_a_warning() -> None:
    assert [warning.path for warning in load("node: {}").warnings] == ["static_resources.listeners"]


@pytest.mark.parametrize("count", [0, 2])
def test_a_listener_has_exactly_one_network_filter(count: int) -> None:
    document = yaml.safe_load(conf())
    chain = document["static_resources"]["listeners"][0]["filter_chains"]
    chain["filters"] *= count
    assert paths(yaml.safe_dump(document)) == ["static_resources.listeners[0].filter_chains.filters"]


# --- chains ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([PROXY], []),
        ([CACHE, PROXY], []),
        ([], [FILTERS]),
        ([CACHE], [FILTERS]),
        ([PROXY, CACHE], [f"{FILTERS}[0].name"]),
        ([PROXY, PROXY], [f"{FILTERS}[0].name"]),
        ([PROXY, PROXY, PROXY], [f"{FILTERS}[0].name", f"{FILTERS}[1].name"]),
    ],
)
def test_exactly_one_filter_of_a_chain_answers_and_it_is_the_last(filters: list[Block], expected: list[str]) -> None:
    assert paths(conf(filters=filters)) == expected


def test_a_chain_with_an_unknown_filter_is_not_judged() -> None:
    assert paths(conf(filters=[{"name": "unknown"}])) == [f"{FILTERS}[0].name"]


def test_a_routes_own_chain_follows_the_same_rule() -> None:
    own = {**route(), "http_filters": [CACHE]}
    assert paths(conf(routes=[route(), own])) == [f"{ROUTES}[1].http_filters"]


def test_the_managers_chain_may_be_empty_when_every_route_has_its_own() -> None:
    own = {**route(), "http_filters": [PROXY]}
    assert problems(conf(routes=[own], filters=[])) == []
    assert paths(conf(routes=[own, route()], filters=[])) == [FILTERS]
    assert paths(conf(routes=[], filters=[])) == [FILTERS]


# --- routes ----------------------------------------------------------------------------------------------------------


def test_a_route_leads_to_a_cluster_that_exists() -> None:
    assert problems(conf(cluster("llm"), routes=[route("llm"), route("lmm"), route("other")])) == [
        f"{ROUTES}[1].route.cluster: No cluster is named 'lmm'; did you mean 'llm'?",
        f"{ROUTES}[2].route.cluster: No cluster is named 'other'",
    ]


@pytest.mark.parametrize(("enabled", "found"), [(True, 0), ("true", 0), ("false", 1)])
def test_an_adapter_may_bring_the_cluster_of_a_route(enabled: Any, found: int) -> None:
    document = yaml.safe_load(conf(routes=[route("later")]))
    document["static_resources"]["adapters"] = [{"name": "test.adapter", "enabled": enabled}]
    assert len(problems(yaml.safe_dump(document))) == found


def test_a_cluster_without_a_name_is_called_by_its_number() -> None:
    text = conf(cluster("a"), cluster(""), routes=[route("cluster-2")])
    assert [one.name for one in load(text).config.static_resources.clusters] == ["a", "cluster-2"]


@pytest.mark.parametrize("broken", [{"name": ["a"]}, "text"])
def test_while_a_clusters_name_is_unknown_no_route_is_blamed(broken: Any) -> None:
    assert all("route.cluster" not in path for path in paths(conf(cluster(), broken, routes=[route("other")])))


def test_a_broken_cluster_still_has_its_name_and_its_number() -> None:
    broken = {"name": "b", "endpoints": "text"}
    found = paths(conf(broken, {"lb_policy": []}, routes=[route("b"), route("cluster-2")]))
    assert found == ["static_resources.clusters[0].endpoints", "static_resources.clusters[1].lb_policy"]


@pytest.mark.parametrize(
    ("match", "key"),
    [
        ({"methods": ["GET"]}, ""),
        ({"prefix": "/a", "path": "/b"}, ".path"),
        ({"path": "/a/**/b"}, ".path"),
        ({"headers": [{"name": "x", "regex": True, "values": ["("]}]}, ".headers[0].values[0]"),
        ({"headers": [{"name": "x", "regex": True}]}, ".headers[0].values"),
    ],
)
def test_conditions_that_cannot_hold_or_cannot_be_read(match: Block, key: str) -> None:
    assert paths(conf(routes=[route(**match)])) == [f"{ROUTES}[0].match{key}"]


@pytest.mark.parametrize(
    "match",
    [{"prefix": "/"}, {"path": "/a"}, {"hosts": ["a.example"]}, {"models": ["gpt*"]}, {"headers": [{"name": "x"}]}],
)
def test_any_one_condition_is_enough(match: Block) -> None:
    assert problems(conf(routes=[route(**match)])) == []


# --- clusters --------------------------------------------------------------------------------------------------------


def test_cluster_names_are_unique_also_the_made_ones() -> None:
    assert paths(conf(cluster("cluster-2"), cluster(""))) == ["static_resources.clusters[1].name"]


@pytest.mark.parametrize("keys", [{}, {"type": "EDS"}, {"type": "Static"}])
def test_pixius_default_type_is_static(keys: Block) -> None:
    assert first_cluster(**keys).type == "Static"
    assert load(conf(cluster(**keys))).warnings == []


def test_the_balancer_of_pixius_samples_is_rand_with_a_warning() -> None:
    loaded = load(conf(cluster(lb_policy="lb")))
    assert loaded.config.static_resources.clusters[0].lb_policy == "Rand"
    assert [warning.path for warning in loaded.warnings] == [f"{CLUSTER}.lb_policy"]


@pytest.mark.parametrize(("key", "value"), [("lb_policy", "rand"), ("lb_policy", "Fair"), ("type", "static")])
def test_unknown_types_and_balancers_are_no_guesses(key: str, value: str) -> None:
    assert paths(conf(cluster(**{key: value}))) == [f"{CLUSTER}.{key}"]


@pytest.mark.parametrize(
    ("endpoint", "key"),
    [
        ({}, ""),
        ({"llm_meta": {"provider": "mine"}}, ""),
        ({"socket_address": {"domains": ["http://a.example"]}}, ""),
        ({"socket_address": {}, "meta": {"weight": "heavy"}}, ".meta.weight"),
        ({"socket_address": {}, "llm_meta": {"api_key": "two words"}}, ".llm_meta.api_key"),
        ({"socket_address": {}, "llm_meta": {"models": ["a", {"name": "a"}]}}, ".llm_meta.models[1]"),
    ],
)
def test_endpoints_that_cannot_be_used(endpoint: Block, key: str) -> None:
    good: Block = {"socket_address": {}}
    assert paths(conf(cluster(endpoints=[good, endpoint]))) == [f"{CLUSTER}.endpoints[1]{key}"]


def test_a_known_provider_is_address_enough() -> None:
    assert problems(conf(cluster(endpoints=[{"llm_meta": {"provider": "openai"}}]))) == []


def test_endpoint_ids_that_repeat_are_worth_a_warning() -> None:
    endpoints = [{"id": name, "socket_address": {"port": 80}} for name in ("x", "y", "x")]
    assert [warning.path for warning in load(conf(cluster(endpoints=endpoints))).warnings] == [
        f"{CLUSTER}.endpoints[2].id"
    ]


@pytest.mark.parametrize(
    ("meta", "warned"),
    [
        ({"api_key": ""}, True),
        ({"api_key": " "}, True),
        ({"api_key": "", "client_auth": "drop"}, False),
        ({"api_key": "sk"}, False),
        ({}, False),
    ],
)
def test_a_key_that_is_empty_is_worth_a_warning(meta: dict[str, Any], warned: bool) -> None:
    """A variable that is not set would otherwise send every client's own credential to a provider that none was meant for."""
    endpoints = [{"id": "a", "socket_address": {"address": "h", "port": 1}, "llm_meta": meta}]
    warnings = load(conf(cluster(endpoints=endpoints))).warnings
    assert [warning.path for warning in warnings] == [f"{CLUSTER}.endpoints[0].llm_meta.api_key"] * warned


def test_only_the_first_health_check_counts_and_the_others_are_warned_of() -> None:
    warnings = load(conf(cluster(health_checks=[{}, {}]))).warnings
    assert [warning.path for warning in warnings] == [f"{CLUSTER}.health_checks[1]"]


# --- what filters say themselves -------------------------------------------------------------------------------------


@plugin(Family.HTTP_FILTER, "test.picky")
class Picky(HttpFilter):
    """A filter that knows which cluster it wants."""

    Config = PickyConfig

    @classmethod
    def check(cls, config: Any, clusters: Mapping[str, Cluster], report: BlockReport) -> None:
        """Its own cluster must be there, and its own block should say more."""
        if config.wants not in clusters:
            report.problem("wants", f"there is {', '.join(clusters)}")
        report.warning("", "looked at")


def picky(wants: Any, clusters: list[Block], **static: Any) -> tuple[list[Problem], list[Problem]]:
    """Problems and warnings about a configuration with such a filter."""
    registry = small_registry()
    registry.add(Picky)
    document = yaml.safe_load(conf(*clusters, filters=[{"name": "test.picky", "config": {"wants": wants}}, PROXY]))
    document["static_resources"].update(static)
    try:
        return [], load_text(yaml.safe_dump(document), registry).warnings
    except ConfigError as error:
        return error.problems, []


def test_a_filter_judges_its_block_beside_the_clusters() -> None:
    """Its words stand in the place of what they are about."""
    assert [(warning.path, warning.message) for warning in picky("a", [cluster("a")])[1]] == [
        (f"{FILTERS}[0].config", "looked at")
    ]
    (problem,) = picky("b", [cluster("a")])[0]
    assert (problem.path, problem.message) == (f"{FILTERS}[0].config.wants", "there is a")
    assert problem.line


def test_a_filter_judges_nothing_that_is_not_all_known() -> None:
    """One mistake is reported once, and an adapter may bring what is missing."""
    assert [problem.path for problem in picky(3, [cluster("a")])[0]] == [f"{FILTERS}[0].config.wants"]
    assert [problem.path for problem in picky("b", [cluster("a", dns=3)])[0]] == [f"{CLUSTER}.dns"]
    assert picky("b", [cluster("a")], adapters=[{"name": "test.adapter"}]) == ([], [])
