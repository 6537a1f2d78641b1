"""From (family, kind) to class."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from pixiu_py.errors import PluginError
from pixiu_py.registry import MARK, Family, Registry, did_you_mean, plugin


def make(name: str, kind: str, family: Family = Family.HTTP_FILTER, **options: Any) -> type[Any]:
    return plugin(family, kind, **options)(type(name, (), {"__doc__": f"{name} of tests.\n\nMore.", "__module__": "m"}))


def registry(*classes: type[Any]) -> Registry:
    made = Registry()
    for cls in classes:
        made.add(cls)
    return made


def test_marking_a_class_changes_nothing_but_the_class() -> None:
    cls = make("A", "acme.a")
    assert vars(cls)[MARK].kind == "acme.a"
    assert Registry().find(Family.HTTP_FILTER, "acme.a") is None


def test_a_kind_is_found_in_its_own_family_only() -> None:
    known = registry(make("A", "same"), make("B", "same", Family.CLUSTER))
    found = known.find(Family.CLUSTER, "same")
    assert found is not None
    assert found.cls.__name__ == "B"
    assert known.find(Family.STORE, "same") is None


def test_an_alias_leads_to_the_kind() -> None:
    known = registry(make("A", "new", aliases=("old", "older")))
    assert known.find(Family.HTTP_FILTER, "older") is known.find(Family.HTTP_FILTER, "new") is not None
    assert known.is_alias(Family.HTTP_FILTER, "old")
    assert not known.is_alias(Family.HTTP_FILTER, "new")
    assert known.kinds(Family.HTTP_FILTER) == ["new"]


@pytest.mark.parametrize(
    ("kind", "aliases"),
    [("a", ()), ("b", ("a",)), ("old", ()), ("b", ("old",))],
    ids=["kind", "alias", "by-alias", "both"],
)
def test_kinds_and_aliases_share_one_space_of_names(kind: str, aliases: tuple[str, ...]) -> None:
    known = registry(make("A", "a", aliases=("old",)))
    with pytest.raises(PluginError, match="of B is taken by m"):
        known.add(make("B", kind, aliases=aliases))


@pytest.mark.parametrize("kind", ["", "  "])
def test_a_kind_has_a_name(kind: str) -> None:
    with pytest.raises(PluginError, match="m: A has no kind"):
        registry(make("A", kind))


def test_a_module_registers_what_it_defines_not_what_it_imports() -> None:
    module = ModuleType("m")
    vars(module).update(A=make("A", "a"), Unmarked=type("Unmarked", (), {"__module__": "m"}))
    foreign = make("B", "b")
    foreign.__module__ = "elsewhere"
    vars(module)["B"] = foreign
    known = Registry()
    assert known.add_module(module) == 1
    assert [entry.kind for entry in known] == ["a"]


def test_a_subclass_does_not_inherit_the_mark() -> None:
    module = ModuleType("m")
    vars(module)["Child"] = type("Child", (make("A", "a"),), {"__module__": "m"})
    assert Registry().add_module(module) == 0


def test_entries_are_in_order_and_tell_what_they_are() -> None:
    known = registry(make("B", "b", status="beta"), make("A", "a"), make("C", "c", Family.CLUSTER))
    assert [(entry.kind, entry.status, entry.summary) for entry in known] == [
        ("c", "stable", "C of tests."),
        ("a", "stable", "A of tests."),
        ("b", "beta", "B of tests."),
    ]


def test_two_registries_know_nothing_of_each_other() -> None:
    first, second = registry(make("A", "a")), Registry()
    assert first.kinds(Family.HTTP_FILTER) == ["a"]
    assert second.kinds(Family.HTTP_FILTER) == []


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("roundrobin", "; did you mean 'RoundRobin'?"),
        ("RoundRobn", "; did you mean 'RoundRobin'?"),
        ("x", ""),
        ("", ""),
    ],
)
def test_a_close_word_is_suggested_whatever_its_case(word: str, hint: str) -> None:
    assert did_you_mean(word, ["Rand", "RoundRobin"]) == hint


def test_suggestions_are_of_the_family() -> None:
    known = registry(make("A", "acme.filter"), make("B", "acme.filer", Family.CLUSTER))
    assert known.suggest(Family.HTTP_FILTER, "acme.filte") == "; did you mean 'acme.filter'?"
