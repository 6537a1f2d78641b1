"""The page about KV-cache routing: the metrics that it names are there, and its command lines are those that are tested."""

from __future__ import annotations

import re

import orjson
import pytest

from tests.docs.pages import ROOT, read, tables
from tests.engines.servers import KvEvents

PAGE = read("kv-cache-routing.md")
SOURCES = "".join(path.read_text() for path in (ROOT / "pixiu_py" / "filters" / "ai").rglob("*.py"))


def test_the_metrics_are_all_of_them() -> None:
    """None is missing on the page, and none was renamed since."""
    registered = set(re.findall(r'"(pixiu_py_kvcache_\w+)"', SOURCES))
    shown = {row[0].strip("`") for table in tables(PAGE) for row in table if row[0].startswith("`pixiu_py_kvcache")}
    assert shown == registered


def test_every_index_has_its_section() -> None:
    """As many as there are kinds."""
    kinds = set(re.findall(r'Family\.KV_INDEX, "([\w-]+)"', SOURCES))
    assert {row[0].strip("`") for row in tables(PAGE)[0]} == kinds
    for kind in kinds:
        assert f"\n## {kind}\n" in PAGE


@pytest.mark.parametrize("option", ["kv-events-config", "kv-transfer-config", "monitor-ports"])
def test_json_of_command_lines_can_be_read(option: str) -> None:
    """And that of the KV events has the keys with which real engines were started."""
    found = re.findall(rf"--{option} (?:\\\n\s*)?'(.*?)'", PAGE, re.DOTALL)
    assert found
    for text in found:
        document = orjson.loads(text)
        if option == "kv-events-config":
            used = orjson.loads(KvEvents(1).options("x")[1])
            assert document.keys() == used.keys()
            assert "*" not in document["endpoint"]
