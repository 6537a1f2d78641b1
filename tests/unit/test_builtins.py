"""The list of built-ins is complete, and what it lists keeps the rules for plugins."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pixiu_py
from pixiu_py import plugins
from pixiu_py.builtins import MODULES
from pixiu_py.plugins import build_registry
from pixiu_py.registry import Entry

ROOT = Path(pixiu_py.__file__).parent


def test_every_module_with_a_plugin_is_listed_once() -> None:
    marked = {
        ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
        for path in ROOT.rglob("*.py")
        if re.search(r"^@plugin\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert sorted(MODULES) == sorted(marked)


@pytest.mark.parametrize("entry", list(build_registry()), ids=lambda entry: f"{entry.family.name}-{entry.kind}")
def test_a_built_in_keeps_the_rules_for_drop_ins(entry: Entry) -> None:
    plugins._check(entry.cls)
    assert entry.summary
    assert entry.status in ("stable", "beta", "experimental")
