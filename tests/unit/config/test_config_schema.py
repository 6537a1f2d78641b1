"""The JSON Schema of the file."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pixiu_py.config.schema import json_schema
from pixiu_py.plugins import build_registry
from tests.fakes.config_kinds import small_registry

SCHEMA = json_schema(small_registry())


def part(name: str, key: str) -> dict[str, Any]:
    found: dict[str, Any] = SCHEMA["$defs"][name]["properties"][key]
    return found


def references(schema: Any) -> set[str]:
    if isinstance(schema, dict):
        own = {schema["$ref"]} if isinstance(schema.get("$ref"), str) else set()
        return own.union(*map(references, schema.values()))
    return set().union(*map(references, schema)) if isinstance(schema, list) else set()


@pytest.mark.parametrize("registry", [small_registry(), build_registry()], ids=["small", "built-in"])
def test_every_reference_leads_somewhere(registry: Any) -> None:
    schema = json_schema(registry)
    assert references(schema) <= {f"#/$defs/{name}" for name in schema["$defs"]}
    assert "'x-pixiu'" not in str(schema)


def test_the_root_is_the_whole_file() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["$ref"] == "#/$defs/Config"
    assert "static_resources" in SCHEMA["$defs"]["Config"]["properties"]


def test_each_kind_chooses_its_config_by_name() -> None:
    reference = SCHEMA["$defs"]["HttpFilterRef"]
    chosen = {
        tuple(choice["if"]["properties"]["name"]["enum"]): choice["then"]["properties"]["config"]["$ref"]
        for choice in reference["allOf"]
    }
    assert chosen["dgp.filter.llm.proxy", "old.llm.proxy"] == "#/$defs/ProxyConfig"
    assert chosen[("dgp.filter.ai.kvcache",)] == "#/$defs/Empty"
    assert set(reference["properties"]["name"]["enum"]) == {name for names in chosen for name in names}


def test_a_config_with_required_keys_must_be_there() -> None:
    required = {
        choice["if"]["properties"]["name"]["enum"][0]: choice["then"].get("required")
        for choice in SCHEMA["$defs"]["HttpFilterRef"]["allOf"]
    }
    assert required["dgp.filter.llm.tokenizer"] == ["config"]
    assert required["dgp.filter.llm.proxy"] is None


@pytest.mark.parametrize(
    ("text", "allowed"),
    [("5s", True), ("1h30m", True), ("200ms", True), ("0", True), ("${T}", True), ("5", False), ("soon", False)],
)
def test_durations_are_texts_of_a_pattern(text: str, allowed: bool) -> None:
    patterns = [way.get("pattern", "") for way in part("ProxyConfig", "timeout")["anyOf"]]
    patterns.append(SCHEMA["$defs"]["FromEnvironment"]["pattern"])
    assert any(pattern and re.search(pattern, text) for pattern in patterns) is allowed


@pytest.mark.parametrize(("text", "allowed"), [("64KiB", True), ("10 MB", True), ("1024", True), ("1.5MB", False)])
def test_sizes_are_texts_of_a_pattern(text: str, allowed: bool) -> None:
    [pattern] = [way["pattern"] for way in part("ProxyConfig", "body")["anyOf"] if "pattern" in way]
    assert bool(re.search(pattern, text)) is allowed


@pytest.mark.parametrize(
    ("key", "default"), [("idle_timeout", "20s"), ("max_header_bytes", 1048576), ("max_headers", 128)]
)
def test_defaults_are_as_they_would_be_written(key: str, default: Any) -> None:
    assert part("HttpServerConfig", key)["default"] == default


def test_odd_durations_have_their_unit_too() -> None:
    assert part("AccessLog", "flush_interval")["default"] == "200ms"
    assert part("HealthCheck", "initial_delay_seconds")["default"] == "0s"
    assert part("DnsSettings", "max_ttl")["default"] == "5m"


def test_descriptions_are_kept() -> None:
    assert part("ProxyConfig", "timeout")["description"] == "Total time."
    assert SCHEMA["$defs"]["Cluster"]["description"] == "A named set of endpoints."


def test_balancers_cluster_types_and_protocols_are_those_of_the_registry() -> None:
    assert part("Cluster", "lb_policy")["anyOf"][0]["enum"] == ["Rand", "lb", "RoundRobin"]
    assert part("Cluster", "type")["anyOf"][0]["enum"] == ["Static", "EDS"]
    assert part("Listener", "protocol_type")["anyOf"][0]["enum"] == ["HTTP", "HTTPS"]


def test_older_spellings_are_marked_as_such() -> None:
    assert part("Cluster", "lb")["deprecated"] is True
    assert part("LlmMeta", "api_keys")["deprecated"] is True


def test_numbers_may_be_references() -> None:
    assert {"$ref": "#/$defs/FromEnvironment"} in part("SocketAddress", "port")["anyOf"]


def test_secrets_are_texts() -> None:
    assert {"type": "string"} in part("LlmMeta", "api_key")["anyOf"]
