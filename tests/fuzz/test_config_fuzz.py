"""Invariant: whatever the document, it loads or raises ConfigError, and every problem has a place."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixiu_py.config.load import load_text
from pixiu_py.errors import ConfigError
from tests.fakes.config_kinds import small_registry

REGISTRY = small_registry()
ENVIRON = {"SET": "value", "NUMBER": "7", "EMPTY": ""}

WORDS = """
static_resources listeners clusters adapters name id ID protocol_type address socket_address port domains certs_dir
filter_chains filters config http_filters route_config routes match route prefix path headers values regex hosts models
methods cluster endpoints llm_meta provider api_key api_keys key retry_policy times type lb lb_policy enabled scheme
health_checks timeout meta weight access_log log level wasm max_headers idle_timeout << ${SET}
"""
VALUES = """
dgp.filter.httpconnectionmanager dgp.filter.llm.proxy dgp.filter.llm.tokenizer old.llm.proxy HTTP HTTPS TCP Static EDS
Rand lb CountBased nocount /v1 /a/**/b ( 5s 0 64KiB true ${SET} ${NUMBER} ${EMPTY} ${UNSET} ${ $${ openai
"""
KEYS = st.sampled_from(WORDS.split())
TEXTS = st.sampled_from(VALUES.split())
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.binary(max_size=4)
    | TEXTS
    | st.text(max_size=6)
)
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=5),
    max_leaves=25,
)


def shaped(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Documents that come far enough for the rules across blocks to see them."""
    blocks = {
        "listeners": {"protocol_type", "address", "filter_chains", "config"},
        "clusters": {"name", "type", "lb_policy", "endpoints", "health_checks"},
        "adapters": {"name", "enabled", "config"},
    }
    manager = st.fixed_dictionaries(
        {},
        optional={
            "route_config": st.fixed_dictionaries(
                {"routes": st.lists(block(inner, "match", "route", "http_filters"), max_size=2)}
            ),
            "http_filters": st.lists(block(inner, "name", "config"), max_size=2),
        },
    )
    chain = st.fixed_dictionaries(
        {"filters": st.lists(st.fixed_dictionaries({"name": TEXTS, "config": manager | inner}), max_size=2)}
    )
    listener = st.fixed_dictionaries({}, optional={"filter_chains": chain, "protocol_type": TEXTS, "address": inner})
    resources = {key: st.lists(block(inner, *keys) | inner, max_size=3) for key, keys in blocks.items()}
    resources["listeners"] = st.lists(listener | inner, max_size=2)
    return st.fixed_dictionaries({"static_resources": st.fixed_dictionaries({}, optional=resources)})


def block(inner: st.SearchStrategy[Any], *keys: str) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(sorted(keys), inner))


def check(text: str) -> None:
    problems = []
    try:
        assert "Broken" not in repr(load_text(text, REGISTRY, ENVIRON).config)
    except ConfigError as error:
        problems = error.problems
        assert problems, "a ConfigError says what is wrong"
    assert all(problem.line > 0 and problem.column > 0 and problem.message for problem in problems)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(DOCUMENTS)
def test_any_document(document: Any) -> None:
    check(yaml.safe_dump(document))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(shaped(DOCUMENTS))
def test_any_document_of_about_the_right_shape(document: Any) -> None:
    check(yaml.safe_dump(document))


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab:-[]{},&*!|>'\"#%@`? \n\t<${}\ufeff\x85é0"))
def test_any_text(text: str) -> None:
    check(text)
