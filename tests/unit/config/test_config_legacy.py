"""Older forms of values."""

from __future__ import annotations

import pytest

from tests.fakes.config_kinds import load, problems

CONF = "static_resources: {clusters: [{name: a, endpoints: [{socket_address: {port: 1}, llm_meta: {api_keys: %s}}]}]}"
PATH = "static_resources.clusters[0].endpoints[0].llm_meta.api_keys"


def test_of_a_list_of_keys_the_first_is_used_with_warnings() -> None:
    loaded = load(CONF % "[{name: a, key: one}, {name: b, key: two}]")
    meta = loaded.config.static_resources.clusters[0].endpoints[0].llm_meta
    assert meta is not None
    assert meta.api_key is not None
    assert meta.api_key.reveal() == "one"
    told = [warning.message for warning in loaded.warnings if warning.path == PATH]
    assert told == [
        "'api_keys' is an older spelling of 'api_key'",
        "Only the first key is used; give each further key an endpoint of its own",
    ]


def test_a_single_text_under_the_older_name_is_the_key() -> None:
    meta = load(CONF % "one").config.static_resources.clusters[0].endpoints[0].llm_meta
    assert meta is not None
    assert meta.api_key is not None
    assert meta.api_key.reveal() == "one"


@pytest.mark.parametrize("value", ["[]", "[one]", "[{name: a}]"])
def test_a_list_without_a_key_is_a_problem(value: str) -> None:
    assert problems(CONF % value) == [f"{PATH}: Expected a list of mappings with name and key"]
