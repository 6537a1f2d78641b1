"""From config to endpoint: ids, names, weights, keys, and what survives a reload."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from structlog.testing import capture_logs

from pixiu_py.clusters.build import build_templates, endpoint_at, endpoint_ids, retry_policy, take_over, weight_of
from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.config.model import Endpoint as EndpointConfig
from pixiu_py.config.model import LlmMeta, ServedModel, SocketAddress
from pixiu_py.config.types import RetryPolicyRef, Secret
from pixiu_py.errors import Problem
from pixiu_py.upstream.retry import RetryConfig
from tests.fakes.clusters import cluster_registry, endpoint_config

REGISTRY = cluster_registry()


def built(config: EndpointConfig, host: str = "", port: int = 0, *, many: bool = False) -> Endpoint:
    [template] = build_templates("main", [config], REGISTRY)
    location = template.location
    return endpoint_at(template, host or location.host, port or location.port, many=many)


def problems_of(config: EndpointConfig) -> list[Problem]:
    problems: list[Problem] = []
    assert build_templates("main", [config], REGISTRY, "endpoints", problems) == []
    return problems


# --- ids and names ---------------------------------------------------------------------------------------------------


def test_a_repeated_id_gets_a_number_that_nobody_else_has_and_a_warning() -> None:
    configs = [endpoint_config(id_) for id_ in ("a", "a", "a-2", "a")]
    with capture_logs() as logs:
        assert endpoint_ids("main", configs) == ["a", "a-3", "a-2", "a-4"]
    assert [entry["renamed"] for entry in logs] == ["a-3", "a-4"]


def test_a_missing_id_is_made_of_cluster_address_provider_and_key_and_not_of_the_name() -> None:
    def generated(cluster: str = "main", **changes: Any) -> str:
        return endpoint_ids(cluster, [endpoint_config(**changes)])[0]

    base: dict[str, Any] = {"host": "10.0.0.1", "provider": "p", "api_key": Secret("k")}
    first = generated(**base)
    assert first.startswith("pixiu-generated-endpoint-")
    assert len(first.removeprefix("pixiu-generated-endpoint-")) == 16
    assert first == generated(**base, name="other")
    others = [
        generated("other", **base),
        generated(**{**base, "host": "10.0.0.2"}),
        generated(**{**base, "provider": "q"}),
        generated(**{**base, "api_key": Secret("l")}),
    ]
    assert len({first, *others}) == 5


def test_an_endpoint_without_an_address_of_its_own_gets_an_id_too() -> None:
    ids = endpoint_ids("main", [EndpointConfig(llm_meta=LlmMeta(provider=name)) for name in ("openai", "groq")])
    assert len(set(ids)) == 2


def test_fields_of_a_generated_id_cannot_run_into_each_other() -> None:
    one = endpoint_config(provider="ab", api_key=Secret("c"))
    two = endpoint_config(provider="a", api_key=Secret("bc"))
    assert endpoint_ids("main", [one]) != endpoint_ids("main", [two])


def test_default_names_count_from_one_and_tell_the_provider() -> None:
    configs = [endpoint_config("a"), endpoint_config("b", provider="vllm"), endpoint_config("c", name="mine")]
    names = [template.name for template in build_templates("main", configs, REGISTRY)]
    assert names == ["endpoint-1", "endpoint-2#vllm", "mine"]


# --- settings --------------------------------------------------------------------------------------------------------


def test_everything_configured_arrives_at_the_endpoint() -> None:
    endpoint = built(
        endpoint_config(
            "a",
            meta={"weight": "7", "zone": "x"},
            scheme="https",
            tls_verify=False,
            provider="anthropic",
            api_key=Secret("key"),
            client_auth="drop",
            models=["m", ServedModel(name="alias", upstream="real")],
            fallback=True,
            health_check_interval=1500,
            failure_threshold=3,
            retry_policy=RetryPolicyRef(name="CountBased", config={"times": 4}),
        )
    )
    assert (endpoint.weight, endpoint.meta["zone"], endpoint.scheme, endpoint.tls_verify) == (7, "x", "https", False)
    assert (endpoint.provider, endpoint.api_key, endpoint.auth_header) == ("anthropic", Secret("key"), "x-api-key")
    assert (endpoint.client_auth, endpoint.models, endpoint.fallback) == ("drop", {"m": "m", "alias": "real"}, True)
    assert (endpoint.cooldown.seconds, endpoint.cooldown.threshold) == (1.5, 3)
    assert endpoint.retry is not None
    assert endpoint.retry.tries == 5


def test_defaults_of_an_endpoint_without_llm_meta() -> None:
    endpoint = built(endpoint_config("a"))
    assert (endpoint.api_key, endpoint.auth_header, endpoint.client_auth) == (None, "authorization", "pass")
    assert endpoint.cooldown.seconds == 0.0
    assert endpoint.retry is not None
    assert endpoint.retry.tries == 1


def test_an_explicit_key_header_wins_over_the_providers() -> None:
    assert built(endpoint_config(provider="anthropic", auth_header="X-Key")).auth_header == "x-key"


def test_the_key_in_the_identity_is_a_digest() -> None:
    endpoint = built(endpoint_config("a", api_key=Secret("key")))
    assert endpoint.key == ("main", "a", "10.0.0.1:80", hashlib.sha256(b"key").hexdigest())
    assert built(endpoint_config("a")).key[3] == ""


def test_a_key_is_trimmed_and_an_empty_one_is_none() -> None:
    """A key file ends with a line break; an environment variable may be unset."""
    assert built(endpoint_config(api_key=Secret("key\n"))).api_key == Secret("key")
    assert built(endpoint_config(api_key=Secret(" "))).api_key is None


@pytest.mark.parametrize("value", [0, 5, "5", " 5 "])
def test_a_weight_may_be_written_as_a_string(value: Any) -> None:
    assert weight_of(value) == int(value)


@pytest.mark.parametrize("value", [-1, "-1", "x", "", 1.5, True, None])
def test_a_weight_that_is_no_whole_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="whole number"):
        weight_of(value)


@pytest.mark.parametrize("name", ["CountBased", "countbased", "COUNTBASED"])
def test_retry_policies_are_found_in_any_case(name: str) -> None:
    assert retry_policy(RetryPolicyRef(name=name), REGISTRY).tries == 3


def test_a_retry_policy_may_come_decoded_from_the_reader_or_plain() -> None:
    for config in (RetryConfig(times=5), {"times": 5}):
        assert retry_policy(RetryPolicyRef(name="CountBased", config=config), REGISTRY).tries == 6


def test_an_unknown_retry_policy_is_found_at_start_with_a_hint() -> None:
    """Pixiu finds out at the first request."""
    with pytest.raises(ValueError, match="did you mean 'CountBased'"):
        retry_policy(RetryPolicyRef(name="CountBase"), REGISTRY)


def test_every_problem_of_an_endpoint_is_reported_with_its_path() -> None:
    config = EndpointConfig(
        socket_address=SocketAddress(domains=["https://a"]),
        meta={"weight": -1},
        llm_meta=LlmMeta(api_key=Secret("two words"), auth_header="bad name", retry_policy=RetryPolicyRef(name="Nope")),
    )
    paths = [problem.path for problem in problems_of(config)]
    assert paths == [
        "endpoints[0]",
        "endpoints[0].meta.weight",
        "endpoints[0].llm_meta.api_key",
        "endpoints[0].llm_meta.auth_header",
        "endpoints[0].llm_meta.retry_policy",
    ]


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "connection", "Expect"])
def test_a_key_cannot_stand_where_the_message_is_framed(name: str) -> None:
    """Every request would be another one than was meant."""
    [problem] = problems_of(endpoint_config(api_key=Secret("key"), auth_header=name))
    assert "cannot carry a key" in problem.message


def test_a_refused_key_is_not_in_the_message() -> None:
    [problem] = problems_of(endpoint_config(api_key=Secret("two words")))
    assert "two" not in str(problem)


# --- addresses found for a name --------------------------------------------------------------------------------------


def test_name_host_header_and_tls_name_stay_when_an_address_is_found() -> None:
    config = EndpointConfig(id="a", scheme="https", socket_address=SocketAddress(domains=["api.example"]))
    endpoint = built(config, "192.0.2.1", 443)
    assert (endpoint.host, endpoint.address) == ("192.0.2.1", "192.0.2.1:443")
    assert (endpoint.server_name, endpoint.host_header, endpoint.id) == ("api.example", "api.example", "a")


def test_where_there_may_be_many_the_address_is_part_of_the_id() -> None:
    config = EndpointConfig(id="a", socket_address=SocketAddress(domains=["api.example:80"]))
    assert built(config, "192.0.2.1", 80, many=True).id == "a@192.0.2.1"
    assert built(config, "192.0.2.1", 81, many=True).id == "a@192.0.2.1:81"
    assert built(config, "api.example", 80, many=True).id == "a"


# --- reloads ---------------------------------------------------------------------------------------------------------


def test_nothing_has_changed_so_the_object_goes_on() -> None:
    old, new = built(endpoint_config("a", api_key=Secret("k"))), built(endpoint_config("a", api_key=Secret("k")))
    assert take_over(old, new, checked=False) is old


@pytest.mark.parametrize("changes", [{"host": "10.0.0.2"}, {"api_key": Secret("other")}])
def test_another_address_or_key_starts_with_a_clean_record(changes: dict[str, Any]) -> None:
    old = built(endpoint_config("a", api_key=Secret("k"), health_check_interval=1000))
    old.cooldown.failed(100.0)
    new = built(endpoint_config("a", **{"api_key": Secret("k"), "health_check_interval": 1000, **changes}))
    assert take_over(old, new, checked=True) is new
    assert new.cooldown.untroubled


def test_other_settings_make_a_new_object_that_inherits_the_record() -> None:
    old = built(endpoint_config("a", health_check_interval=1000))
    old.cooldown.failed(100.0, "reset")
    old.cooldown.rest(100.0, 7.0)
    old.healthy = False
    new = built(endpoint_config("a", health_check_interval=9000))
    assert take_over(old, new, checked=True) is new
    assert (new.cooldown.until, new.cooldown.resting_until, new.cooldown.reason) == (101.0, 107.0, "reset")
    assert (new.cooldown.seconds, new.healthy) == (9.0, False)


def test_a_cooldown_that_was_switched_off_is_not_inherited_but_a_rest_is() -> None:
    old = built(endpoint_config("a", health_check_interval=1000))
    old.cooldown.failed(100.0)
    old.cooldown.rest(100.0, 7.0)
    new = take_over(old, built(endpoint_config("a")), checked=False)
    assert (new.cooldown.until, new.cooldown.resting_until) == (0.0, 107.0)


def test_without_health_checks_nobody_stays_unhealthy_for_ever() -> None:
    old, new = built(endpoint_config("a")), built(endpoint_config("a"))
    old.healthy = False
    assert take_over(old, new, checked=True) is old
    assert take_over(old, new, checked=False) is new
    assert new.healthy
    assert not old.healthy  # the gateway that still uses it sees no change


def test_an_endpoint_that_had_left_does_not_come_back_as_the_same_object() -> None:
    old, new = built(endpoint_config("a")), built(endpoint_config("a"))
    old.removed = True
    assert take_over(old, new, checked=False) is new


def test_neighbours_with_the_same_policy_and_models_share_them() -> None:
    """A large cluster of endpoints that are alike keeps one of each; one that differs has its own."""
    same = {"retry_policy": RetryPolicyRef("CountBased", {"times": 3}), "models": ["m"]}
    other = {"retry_policy": RetryPolicyRef("CountBased", {"times": 4}), "models": ["n"]}
    configs = [endpoint_config(str(port), port=port, **keys) for port, keys in enumerate((same, same, other), 1)]
    first, second, third = build_templates("main", configs, REGISTRY)
    assert second.retry is first.retry
    assert second.models is first.models
    assert third.retry is not None
    assert (third.retry.tries, third.models) == (5, {"n": "n"})
