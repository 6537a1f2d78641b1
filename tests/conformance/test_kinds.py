"""What every registered kind promises before it runs: its documentation, its schema, and strictness about its keys."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import orjson
import pytest

from pixiu_py.config.schema import json_schema
from pixiu_py.config.tables import rows
from pixiu_py.config.types import Empty, Model
from pixiu_py.registry import Entry, Family
from tests.fakes.conf import Block, conf, http_filter
from tests.fakes.kinds import (
    ENTRIES,
    FILTERS,
    REGISTRY,
    SAMPLES,
    decoded,
    document_with,
    filters_with,
    name,
    problems_of,
)

#: Families whose plugins have a config block of their own; the others are named by a key of a block of the file.
WITH_CONFIG = (Family.HTTP_FILTER, Family.NETWORK_FILTER, Family.RETRY_POLICY, Family.KV_INDEX)
CONFIGURED = [entry for entry in ENTRIES if entry.family in WITH_CONFIG]
TERMINAL = [entry for entry in FILTERS if entry.cls.terminal]

#: Named by keys inside the blocks of filters; their contracts are in tests of their own, such as test_stores.py.
STORES = (Family.STORE, Family.PREFIX_INDEX, Family.LEDGER, Family.DECIDER)
NAMED = [entry for entry in ENTRIES if entry.family not in STORES]
every_kind = pytest.mark.parametrize("entry", ENTRIES, ids=name)
every_config = pytest.mark.parametrize("entry", CONFIGURED, ids=name)
every_filter = pytest.mark.parametrize("entry", FILTERS, ids=name)


def model_of(entry: Entry) -> type[Model]:
    """The model of a kind's block."""
    model: type[Model] = getattr(entry.cls, "Config", Empty)
    return model


def keys_of(entry: Entry) -> list[str]:
    """The keys of a kind's block."""
    return [info.encode_name for info in msgspec.structs.fields(model_of(entry))]


def smallest(entry: Entry) -> Block:
    """The smallest valid block of a kind."""
    return dict(SAMPLES[entry.kind].config) if entry.family is Family.HTTP_FILTER else {}


def place_of(word: str, text: str) -> tuple[int, int]:
    """Line and column, from 1, of a key or value that stands in ``text`` once."""
    found = list(re.finditer(rf"(?<![\w.]){re.escape(word)}(?![\w.])", text))
    assert len(found) == 1, f"{word} is there {len(found)} times"
    before = text[: found[0].start()]
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def test_there_are_kinds_of_every_family_that_is_tested_here() -> None:
    """Else these tests would run over nothing. A family that gets its first kind has to be held to promises, too."""
    assert len(FILTERS) >= 19
    without_kinds = {Family.ADAPTER}
    assert {entry.family for entry in ENTRIES} == set(Family) - without_kinds


@every_filter
def test_a_filter_has_a_sample_configuration(entry: Entry) -> None:
    """When this fails: add the new kind to ``tests/fakes/kinds.py``, so that it is tested like the others."""
    assert entry.kind in SAMPLES
    for config in (
        SAMPLES[entry.kind].config,
        SAMPLES[entry.kind].working,
        SAMPLES[entry.kind].fails or smallest(entry),
    ):
        assert problems_of(conf(filters=filters_with(entry, config))) == []


@every_filter
def test_the_smallest_configuration_is_the_smallest(entry: Entry) -> None:
    """Each of its keys is required: without any of them the block is refused."""
    config = smallest(entry)
    for key in config:
        rest = {other: value for other, value in config.items() if other != key}
        assert "required" in str(problems_of(conf(filters=filters_with(entry, rest)))[0])


@every_kind
def test_it_says_what_it_is(entry: Entry) -> None:
    """A summary that is one sentence, a status, and where its class is."""
    assert entry.summary.endswith(".")
    assert entry.status in ("stable", "beta", "experimental")
    assert re.search(r"\.py:\d+$", entry.place)


@every_kind
def test_its_public_methods_are_documented(entry: Entry) -> None:
    """Those that its own class defines."""
    own = {key: value for key, value in vars(entry.cls).items() if callable(value) and not key.startswith("_")}
    undocumented = [key for key, value in own.items() if not isinstance(value, type) and not value.__doc__]
    assert not undocumented


@every_config
def test_every_key_is_described(entry: Entry) -> None:
    """Also the keys of the blocks inside."""
    described = list(rows(model_of(entry)))
    assert [row.key for row in described if not row.description] == []
    assert model_of(entry).__doc__


@every_config
def test_its_config_is_frozen_and_strict(entry: Entry) -> None:
    """One config serves all requests at once."""
    config = decoded(entry, smallest(entry))
    assert isinstance(config, Model)
    assert config.__struct_config__.frozen
    assert config.__struct_config__.forbid_unknown_fields


@pytest.mark.parametrize("entry", NAMED, ids=name)
def test_the_schema_knows_it(entry: Entry) -> None:
    """By its name, and with the keys of its block, each with its description."""
    schema = orjson.loads(orjson.dumps(json_schema(REGISTRY)))
    assert entry.kind in orjson.dumps(schema).decode()
    if entry.family not in WITH_CONFIG:
        return
    key = "type" if entry.family is Family.KV_INDEX else "name"
    choices = [choice for part in schema["$defs"].values() for choice in part.get("allOf", [])]
    named = [choice for choice in choices if key in choice["if"]["properties"]]
    (mine,) = [choice for choice in named if entry.kind in choice["if"]["properties"][key]["enum"]]
    assert mine["then"]["description"] == entry.summary
    if key == "type":
        assert set(keys_of(entry)) <= set(mine["then"]["properties"])
        return
    reference = mine["then"]["properties"]["config"]["$ref"]
    block: dict[str, Any] = schema["$defs"][reference.removeprefix("#/$defs/")]
    properties = block.get("properties", {})
    assert set(keys_of(entry)) <= set(properties)
    assert all(part.get("description") for part in properties.values())
    assert block["additionalProperties"] is False


@every_config
def test_an_unknown_key_is_refused_with_its_place(entry: Entry) -> None:
    """Nothing is guessed from a word that resembles none."""
    text = document_with(entry, {**smallest(entry), "qqq": 1})
    (problem,) = problems_of(text)
    assert (problem.message, problem.line, problem.column) == ("Unknown key", *place_of("qqq", text))


@every_config
def test_a_misspelt_key_gets_a_suggestion(entry: Entry) -> None:
    """Whichever key it is."""
    for key in keys_of(entry):
        wrong = f"{key}x"
        text = document_with(entry, {**smallest(entry), wrong: 1})
        (problem,) = problems_of(text)
        assert problem.message == f"Unknown key; did you mean {key!r}?"
        assert (problem.line, problem.column) == place_of(wrong, text)


@pytest.mark.parametrize("entry", NAMED, ids=name)
def test_a_misspelt_kind_gets_a_suggestion(entry: Entry) -> None:
    """With the place of the name."""
    wrong = f"{entry.kind}x"
    text = document_with(entry, smallest(entry), wrong)
    found = [problem for problem in problems_of(text) if repr(wrong) in problem.message]
    assert len(found) == 1
    assert found[0].message.endswith(f"did you mean {entry.kind!r}?")
    assert (found[0].line, found[0].column) == place_of(wrong, text)


@pytest.mark.parametrize("entry", TERMINAL, ids=name)
def test_nothing_comes_after_a_filter_that_answers_every_request(entry: Entry) -> None:
    """It would never run."""
    after = http_filter("dgp.filter.http.header")
    (problem, *_) = problems_of(conf(filters=[http_filter(entry.kind, **smallest(entry)), after]))
    assert "after it would never run" in problem.message
    assert problem.path.endswith("http_filters[0].name")
    assert problem.line


@pytest.mark.parametrize("entry", [entry for entry in FILTERS if not entry.cls.terminal], ids=name)
def test_a_chain_does_not_end_in_a_filter_that_lets_requests_pass(entry: Entry) -> None:
    """Nobody would answer."""
    (problem,) = problems_of(conf(filters=[http_filter(entry.kind, **smallest(entry))]))
    assert problem.message.startswith("The chain must end in a filter that answers")
    assert problem.line
