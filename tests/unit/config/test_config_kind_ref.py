"""A kind and its keys in one block, ``{type: …}``: read with places and suggestions, in the schema and in the tables."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import msgspec

from pixiu_py.config.decode import Decoder
from pixiu_py.config.document import parse
from pixiu_py.config.report import Report
from pixiu_py.config.schema import json_schema
from pixiu_py.config.tables import table
from pixiu_py.config.types import Model, doc
from pixiu_py.filters.base import HttpFilter
from pixiu_py.registry import Family, Registry, plugin
from pixiu_py.stores.promptcache.base import IndexRef, PrefixIndex


class DiskConfig(Model, frozen=True):
    """Keys of the disk."""

    path: Annotated[str, doc("Where.")]
    price: Annotated[Decimal, doc("What it costs.")] = Decimal("0.5")


@plugin(Family.PREFIX_INDEX, "disk")
class Disk(PrefixIndex):
    """On a disk."""

    Config = DiskConfig


@plugin(Family.PREFIX_INDEX, "nowhere")
class Nowhere(PrefixIndex):
    """Forgets."""


class UserConfig(Model, frozen=True):
    """Keys of a filter that has an index."""

    index: Annotated[IndexRef, doc("Its index.")] = IndexRef(name="disk", config={"path": "default"})


@plugin(Family.HTTP_FILTER, "user")
class User(HttpFilter):
    """Has an index."""

    Config = UserConfig


def registry() -> Registry:
    made = Registry()
    for cls in (Disk, Nowhere, User):
        made.add(cls)
    return made


def read(text: str, model: type[Model] = UserConfig) -> tuple[Any, list[str]]:
    report = Report("conf.yaml")
    root = parse(text, report, {}, Path())
    assert root is not None
    value = Decoder(registry(), report).decode(root, model, "")
    return value, [str(problem) for problem in report.problems]


def test_its_keys_stand_beside_its_type() -> None:
    value, problems = read("index: {type: disk, path: a.db, price: 0.10}")
    assert problems == []
    assert (value.index.name, value.index.config) == ("disk", DiskConfig(path="a.db", price=Decimal("0.1")))


def test_the_default_is_decoded_too() -> None:
    assert read("{}")[0].index.config == DiskConfig(path="default")


class OwnRef(IndexRef, frozen=True):
    """A reference with a key of its own."""

    name: Annotated[str, doc("Its kind.")] = msgspec.field(name="type", default="disk")
    header: Annotated[str, doc("Of the reference, whatever the kind.")] = ""


class OwnConfig(Model, frozen=True):
    """Keys of a filter that has such a reference."""

    index: Annotated[OwnRef, doc("Its index.")]


def test_a_reference_may_have_keys_of_its_own_and_a_usual_kind() -> None:
    """They stand among those of the kind, and both are checked."""
    value, problems = read("index: {header: x-a, path: a.db}", OwnConfig)
    assert problems == []
    assert (value.index.name, value.index.header, value.index.config) == ("disk", "x-a", DiskConfig(path="a.db"))
    assert read("index: {type: nowhere, header: []}", OwnConfig)[1] == [
        "conf.yaml:1:32: index.header: Expected str, got a list"
    ]


def test_problems_are_where_they_are_written() -> None:
    """No level between the block and its keys appears in a path."""
    assert read("index:\n  type: disk\n  pth: a")[1] == [
        "conf.yaml:2:3: index.path: This key is required",
        "conf.yaml:3:3: index.pth: Unknown key; did you mean 'path'?",
    ]
    assert read("index: {type: dsk}")[1] == [
        "conf.yaml:1:15: index.type: Unknown prefix index 'dsk'; did you mean 'disk'?"
    ]
    assert read("index: {path: a}")[1] == ["conf.yaml:1:8: index.type: This key is required"]
    assert read("index: {type: nowhere, config: {}}")[1] == ["conf.yaml:1:24: index.config: Unknown key"]


def test_the_schema_has_the_keys_of_each_kind() -> None:
    schema = json_schema(registry())["$defs"]["IndexRef"]
    assert schema["properties"] == {"type": {"enum": ["disk", "nowhere"]}}
    assert schema["unevaluatedProperties"] is False
    disk, nowhere = schema["allOf"]
    assert disk["if"]["properties"]["type"]["enum"] == ["disk"]
    assert disk["then"]["required"] == ["path"]
    assert disk["then"]["properties"]["price"]["anyOf"][:2] == [
        {"type": "number"},
        {"type": "string", "format": "decimal"},
    ]
    assert nowhere["then"]["properties"] == {}
    assert msgspec.json.encode(schema)


def test_the_tables_say_what_it_is() -> None:
    assert "| `index` | block with `type` | `disk` | Its index. |" in table(UserConfig)
    assert "| `price` | number | `0.5` | What it costs. |" in table(DiskConfig)
    assert "| `index.header` | text |  | Of the reference, whatever the kind. |" in table(OwnConfig)
