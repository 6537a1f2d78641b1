"""How plugins are found, and what is said about those that cannot be used."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from pixiu_py import plugins
from pixiu_py.errors import PluginError
from pixiu_py.plugins import build_registry, load_builtins, load_entry_points, load_folder
from pixiu_py.registry import Family, Registry

HEAD = """from pixiu_py.config.types import Model
from pixiu_py.filters.base import HttpFilter
from pixiu_py.registry import Family, plugin


"""
GOOD = HEAD + '@plugin(Family.HTTP_FILTER, "acme.{0}")\nclass One(HttpFilter):\n    """Does nothing."""\n'


@pytest.fixture(autouse=True)
def _forget_modules() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("_pixiu_plugins_", "acme_")):
            del sys.modules[name]


def folder(root: Path, files: dict[str, str] | None = None, **more: str) -> Path:
    """``root`` with these Python files; their names come without suffix."""
    for name, text in {**(files or {}), **more}.items():
        path = root / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def load(root: Path) -> Registry:
    registry = Registry()
    load_folder(registry, root)
    return registry


def kinds(registry: Registry) -> list[str]:
    return [entry.kind for entry in registry]


def refusal(root: Path) -> str:
    with pytest.raises(PluginError) as caught:
        load(root)
    return str(caught.value).removeprefix(f"{root}/")


# --- what is found ---------------------------------------------------------------------------------------------------


def test_files_of_the_folder_are_plugins(tmp_path: Path) -> None:
    registry = load(folder(tmp_path, b=GOOD.format("b"), a=GOOD.format("a")))
    assert kinds(registry) == ["acme.a", "acme.b"]
    entry = registry.find(Family.HTTP_FILTER, "acme.a")
    assert entry is not None
    assert entry.place == f"{tmp_path}/a.py:6"


def test_private_names_and_tests_and_other_files_are_left_alone(tmp_path: Path) -> None:
    folder(tmp_path, dict.fromkeys(("_shared", "test_it", "data/no_package"), "raise RuntimeError"))
    (tmp_path / ".hidden.py").write_text("raise RuntimeError")
    (tmp_path / "README.md").write_text("# text")
    assert kinds(load(tmp_path)) == []


def test_drop_ins_may_share_a_private_module(tmp_path: Path) -> None:
    using = "from ._shared import KIND\n" + GOOD.replace('"acme.{0}"', "KIND")
    assert kinds(load(folder(tmp_path, _shared="KIND = 'acme.shared'\n", a=using))) == ["acme.shared"]


def test_a_package_is_a_plugin_with_all_its_modules(tmp_path: Path) -> None:
    files = {
        "pack/__init__": "from . import _base\n",
        "pack/_base": "",
        "pack/one": GOOD.format("one"),
        "pack/deep/__init__": "",
        "pack/deep/two": "from .._base import __name__ as base\n" + GOOD.format("two"),
        "pack/test_one": "raise RuntimeError",
    }
    folder(tmp_path, files)
    assert kinds(load(tmp_path)) == ["acme.one", "acme.two"]


def test_two_registries_do_not_share_classes(tmp_path: Path) -> None:
    folder(tmp_path, a=GOOD.format("a"))
    first, second = (load(tmp_path).find(Family.HTTP_FILTER, "acme.a") for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.cls is not second.cls


def test_a_drop_in_may_have_the_name_of_a_standard_module(tmp_path: Path) -> None:
    import json

    load(folder(tmp_path, json=GOOD.format("json")))
    assert sys.modules["json"] is json


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import json\n\nx = 1 +\n", "bad.py:3: cannot be imported: SyntaxError: invalid syntax (bad.py, line 3)"),
        ("import json\n\njson.loads('{')\n", "bad.py:3: cannot be imported: JSONDecodeError: "),
        ("import none_such\n", "bad.py:1: cannot be imported: ModuleNotFoundError: No module named 'none_such'"),
        ("raise SystemExit('no')\n", "bad.py:1: cannot be imported: SystemExit: no"),
        ("x = 1\n", "bad.py:1: no class is marked with @plugin"),
        (
            GOOD.format("a") + "\n\nclass Two(HttpFilter):\n    pass\n",
            "bad.py:11: Two derives from pixiu_py.filters.base.HttpFilter, but is not marked with @plugin; mark it, or ",
        ),
        (
            HEAD + '@plugin(Family.HTTP_FILTER, "acme.a")\nclass One:\n    pass\n',
            "bad.py:6: One is marked as http filter, but does not derive from pixiu_py.filters.base.HttpFilter",
        ),
        (
            HEAD + '@plugin(Family.HTTP_FILTER, "acme.a")\nclass One(HttpFilter):\n    Config = dict\n',
            "bad.py:6: Config of One is no subclass of pixiu_py.config.types.Model",
        ),
        (
            HEAD + '@plugin("http_filter", "acme.a")\nclass One(HttpFilter):\n    pass\n',
            "bad.py:6: One is marked as 'http_filter', which is no Family",
        ),
        (
            GOOD.format("a") + "    async def encode_chunk(self, exchange, chunk):\n        return chunk\n",
            "bad.py:6: encode_chunk of One must be a plain function, not async",
        ),
        (
            GOOD.format("a") + "    async def encode_end(self, exchange):\n        yield b''\n",
            "bad.py:6: encode_end of One must be a plain function, not async",
        ),
        (HEAD + '@plugin(Family.HTTP_FILTER, " ")\nclass One(HttpFilter):\n    pass\n', "bad.py:6: One has no kind"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_told_with_its_place(text: str, message: str, tmp_path: Path) -> None:
    assert refusal(folder(tmp_path, bad=text)).startswith(message)


def test_a_base_class_with_a_private_name_needs_no_mark(tmp_path: Path) -> None:
    text = (
        HEAD
        + 'class _Base(HttpFilter):\n    pass\n\n\n@plugin(Family.HTTP_FILTER, "acme.a")\nclass One(_Base):\n    pass\n'
    )
    assert kinds(load(folder(tmp_path, a=text))) == ["acme.a"]


def test_a_kind_can_be_had_once_only(tmp_path: Path) -> None:
    folder(tmp_path, a=GOOD.format("same"), b=GOOD.format("same"))
    assert refusal(tmp_path) == f"b.py:6: http filter kind 'acme.same' of One is taken by {tmp_path}/a.py:6"


def test_a_drop_in_cannot_replace_a_built_in(tmp_path: Path) -> None:
    folder(tmp_path, a=GOOD.replace("acme.{0}", "dgp.filter.http.cors"))
    with pytest.raises(PluginError, match=r"a\.py:6: http filter kind 'dgp.filter.http.cors' of One is taken by "):
        build_registry(tmp_path)


def test_a_fault_in_a_module_of_a_package_is_told_with_its_own_place(tmp_path: Path) -> None:
    folder(tmp_path, {"pack/__init__": "", "pack/broken": "\n\n1 / 0\n"})
    assert refusal(tmp_path) == "pack/broken.py:3: cannot be imported: ZeroDivisionError: division by zero"


def test_a_package_without_plugins_is_told(tmp_path: Path) -> None:
    assert refusal(folder(tmp_path, {"pack/__init__": ""})) == "pack/__init__.py:1: no class is marked with @plugin"


def test_a_file_must_have_a_python_name(tmp_path: Path) -> None:
    (tmp_path / "my-plugin.py").write_text(GOOD.format("a"))
    assert refusal(tmp_path) == "my-plugin.py:1: the name of a plugin must be a Python name, not 'my-plugin'"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=f"{tmp_path}/none: the plugins folder does not exist"):
        load(tmp_path / "none")


def test_a_folder_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is when it belongs to somebody else: the tests may run as a user whom nobody forbids anything."""

    def forbidden(path: Path) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", forbidden)
    assert refusal(tmp_path) == f"{tmp_path}: the plugins folder cannot be read: Permission denied"


def test_a_failed_folder_leaves_no_modules_behind(tmp_path: Path) -> None:
    before = set(sys.modules)
    refusal(folder(tmp_path, a=GOOD.format("a"), b="1 / 0"))
    assert {name for name in set(sys.modules) - before if name.startswith("_pixiu_plugins_")} == set()


# --- built-ins and entry points --------------------------------------------------------------------------------------


def test_built_ins_are_the_listed_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins.builtins, "MODULES", ("pixiu_py.upstream.retry",))
    registry = Registry()
    load_builtins(registry)
    assert kinds(registry) == ["CountBased", "ExponentialBackoff", "NoRetry"]


def test_a_listed_module_without_plugins_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins.builtins, "MODULES", ("pixiu_py.errors",))
    with pytest.raises(PluginError, match=r"errors\.py:1: no class is marked"):
        load_builtins(Registry())


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the import path, whose package offers two entry points."""
    monkeypatch.syspath_prepend(str(tmp_path))
    points = [EntryPoint(name, value, plugins.GROUP) for name, value in (("b", "acme_b:One"), ("a", "acme_a"))]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points if group == "pixiu_py.plugins" else [])
    return tmp_path


def test_an_entry_point_is_a_module_or_a_class(installed: Path) -> None:
    folder(installed, acme_a=GOOD.format("a"), acme_b=GOOD.format("b"))
    registry = Registry()
    load_entry_points(registry)
    assert kinds(registry) == ["acme.a", "acme.b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n1 / 0\n", r"acme_a\.py:2: entry point 'a' cannot be loaded: ZeroDivisionError: division by zero"),
        ("x = 1\n", r"acme_a\.py:1: no class is marked with @plugin"),
    ],
)
def test_an_entry_point_that_cannot_be_used_is_told(text: str, message: str, installed: Path) -> None:
    folder(installed, acme_a=text, acme_b=GOOD.format("b"))
    with pytest.raises(PluginError, match=message):
        load_entry_points(Registry())


def test_an_entry_point_to_something_else_is_told(installed: Path) -> None:
    folder(installed, acme_a=GOOD.format("a"), acme_b="One = 1\n")
    with pytest.raises(PluginError, match=r"acme_b\.py:1: entry point 'b' is no module and no class marked"):
        load_entry_points(Registry())
