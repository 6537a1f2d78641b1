"""docs/plugins.md tells the truth: its plugins load, its tests pass, its tables are complete."""

import importlib.util
import inspect
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from pixiu_py.config.load import load_text
from pixiu_py.filters.base import HttpFilter
from pixiu_py.plugins import CONTRACTS, build_registry
from pixiu_py.registry import Family

Load = Callable[[str, str], ModuleType]

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs/plugins.md").read_text("utf-8")


def blocks(language: str, containing: str = "") -> list[str]:
    """The code blocks of the guide in this language."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    return [block for block in found if containing in block]


def section(title: str) -> str:
    """The text under a heading."""
    return GUIDE.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plugins folder with each plugin of the guide in a file of its own."""
    for number, text in enumerate(blocks("python", "@plugin")):
        (tmp_path / f"plugin_{number}.py").write_text(text)
    return tmp_path


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """``load(name, text)`` imports a file with this text as the module ``name``."""

    def load(name: str, text: str) -> ModuleType:
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load


def test_each_plugin_is_found_in_the_folder_and_says_what_it_is(folder: Path) -> None:
    entries = [entry for entry in build_registry(folder) if entry.place.startswith(str(folder))]
    assert {entry.kind for entry in entries} == {
        "acme.filter.stamp",
        "acme.filter.closed",
        "acme.filter.chunks",
        "acme.filter.keys",
        "acme.filter.rules",
        "Calm",
        "acme.agents",
        "acme.file",
    }
    assert all(entry.summary for entry in entries)


def test_the_configuration_is_right(folder: Path) -> None:
    (text,) = blocks("yaml", "static_resources")
    assert load_text(text, build_registry(folder)).warnings == []


def test_the_test_of_the_tutorial_passes(load: Load) -> None:
    (plugin,) = blocks("python", "class Stamp(")
    (test,) = blocks("python", "def test_")
    load("plugins.stamp", plugin)
    module = load("test_stamp", test)
    tests = [value for name, value in vars(module).items() if name.startswith("test_")]
    assert len(tests) == 2
    for run in tests:
        run()


def test_the_table_of_hooks_has_all_of_them_as_they_are() -> None:
    listed = dict(re.findall(r"^\| `(\w+)\(([\w, ]*)\)` \|", section("Hooks"), re.MULTILINE))
    life = {"start", "close"}
    hooks = {
        name: ", ".join(list(inspect.signature(value).parameters)[1:])
        for name, value in vars(HttpFilter).items()
        if inspect.isfunction(value) and not name.startswith("_") and name not in life
    }
    assert listed == hooks


def test_every_family_is_there_with_its_base_class() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| `([\w.]+)\.(\w+)` \|$", section("All families"), re.MULTILINE)
    assert {family for family, _, _ in rows} == set(Family.__members__)
    for family, module, name in rows:
        assert hasattr(importlib.import_module(module), name)
        assert CONTRACTS.get(Family[family], (module, name)) == (module, name)


def test_the_entry_point_is_in_the_gateways_group() -> None:
    (text,) = blocks("toml")
    assert list(tomllib.loads(text)["project"]["entry-points"]) == ["pixiu_py.plugins"]
