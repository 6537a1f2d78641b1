"""Rules of the generated tables: complete, readable, and up to date on every page that has one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
import yaml
from msgspec import Meta, field

from pixiu_py.config.load import load_text
from pixiu_py.config.model import Cluster
from pixiu_py.config.tables import Row, main, regenerate, rows, table
from pixiu_py.config.types import Duration, Empty, HttpFilterRef, Model, RetryPolicyRef, Secret, Size, doc
from pixiu_py.filters.http.cors import CorsConfig
from pixiu_py.plugins import build_registry

DOCS = Path(__file__).parents[3] / "docs"
REGISTRY = build_registry()
PAGES = [path for path in sorted(DOCS.rglob("*.md")) if "<!-- keys" in path.read_text("utf-8")]


class Inner(Model, frozen=True):
    """A block."""

    name: Annotated[str, doc("Its name.")]


class Outer(Model, frozen=True):
    """A config."""

    wait: Annotated[Duration, doc("How long.")] = 90.0
    limit: Annotated[Size, Meta(ge=1024, description="How much.")] = 2**20
    share: Annotated[float, Meta(ge=0, le=1, description="How often | <never>.")] = 0.5
    on: bool = True
    key: Annotated[Secret | None, doc("Credential.")] = None
    codes: list[int] = field(default_factory=lambda: [1, 2])
    other_name: Annotated[str, doc("Spelt otherwise.")] = field(name="other-name", default="")
    blocks: Annotated[list[Inner], doc("Blocks.")] = []
    by_name: Annotated[dict[str, Inner], doc("Blocks by name.")] = {}
    maybe: Inner | None = None
    chain: list[HttpFilterRef] | None = None
    policy: RetryPolicyRef = field(default_factory=lambda: RetryPolicyRef(name="NoRetry"))
    labels: dict[str, Any] = {}
    either: list[str | Inner] = []


def test_every_key_has_its_row():
    assert list(rows(Outer)) == [
        Row("wait", "duration", "`90s`", "How long."),
        Row("limit", "size, at least 1024", "`1MiB`", "How much."),
        Row("share", "number, 0 to 1", "`0.5`", "How often | <never>."),
        Row("on", "true or false", "`true`", ""),
        Row("key", "text", "", "Credential."),
        Row("codes", "list of number", "`1`, `2`", ""),
        Row("other-name", "text", "", "Spelt otherwise."),
        Row("blocks", "list of block", "", "Blocks."),
        Row("blocks[].name", "text", "required", "Its name."),
        Row("by_name", "map of block", "", "Blocks by name."),
        Row("by_name.*.name", "text", "required", "Its name."),
        Row("maybe", "block", "", ""),
        Row("maybe.name", "text", "required", "Its name."),
        Row("chain", "list of plugin", "", ""),
        Row("policy", "plugin", "`NoRetry`", ""),
        Row("labels", "map of anything", "", ""),
        Row("either", "list of text or block", "", ""),
        Row("either[].name", "text", "required", "Its name."),
    ]


def test_the_keys_inside_can_be_left_to_other_tables():
    assert [row.key for row in rows(Outer, inside=False)] == [
        info.encode_name for info in msgspec.structs.fields(Outer)
    ]


def test_a_table_survives_markdown():
    assert "| `share` | number, 0 to 1 | `0.5` | How often \\| \\<never>. |\n" in table(Outer)
    assert table(Empty) == "No keys.\n"


PAGE = "# dgp.filter.http.cors\n\nText.\n\n<!-- keys -->\nold\n<!-- /keys -->\n\nMore.\n"


def test_only_what_is_between_the_markers_changes():
    fresh = regenerate(PAGE, REGISTRY)
    assert fresh == PAGE.replace("old\n", table(CorsConfig))
    assert regenerate(fresh, REGISTRY) == fresh


def test_a_marker_may_name_a_block_or_a_retry_policy():
    page = "# Guide\n<!-- keys Cluster -->\n<!-- /keys -->\n<!-- keys CountBased -->\n<!-- /keys -->\n"
    fresh = regenerate(page, REGISTRY)
    assert fresh.startswith(f"# Guide\n<!-- keys Cluster -->\n{table(Cluster, inside=False)}<!-- /keys -->\n")
    assert "| `times` |" in fresh
    assert regenerate(fresh, REGISTRY) == fresh


@pytest.mark.parametrize(
    "page",
    [PAGE.replace("cors", "nothing"), PAGE.replace("<!-- keys -->", ""), PAGE.replace("keys -->", "keys X -->"), ""],
)
def test_other_pages_are_left_alone(page):
    assert regenerate(page, REGISTRY) == page


def test_the_command_writes_stale_pages_and_names_them(tmp_path, capsys):
    stale, other = tmp_path / "a" / "stale.md", tmp_path / "other.md"
    stale.parent.mkdir()
    stale.write_text(PAGE)
    other.write_text("# Other\n")
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{stale}\n"
    assert stale.read_text() == regenerate(PAGE, REGISTRY)
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""
    assert main([]) == 2


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_table_is_up_to_date(path):
    """When this fails: python -m pixiu_py.config.tables docs."""
    page = path.read_text("utf-8")
    bare = re.sub(r"(<!-- keys.*? -->\n).*?(<!-- /keys -->)", r"\1\2", page, flags=re.DOTALL)
    assert bare != page
    assert regenerate(bare, REGISTRY) == page


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_key_is_described(path):
    """An empty cell in the last column is a key that nobody explained."""
    for made in re.findall(r"<!-- keys.*? -->\n(.*?)<!-- /keys -->", path.read_text("utf-8"), re.DOTALL):
        assert not re.search(r"^\| `[^`]+` \|.*\|\s*\|$", made, re.MULTILINE)


#: Of the pages of filters; what guides show is loaded by tests/docs/test_docs_samples.py.
FRAGMENTS = [
    (path, text)
    for path in PAGES
    if path.parent.name == "filters"
    for text in re.findall(r"^```yaml\n(http_filters:.*?)^```$", path.read_text("utf-8"), re.DOTALL | re.MULTILINE)
]


@pytest.mark.parametrize(("path", "text"), FRAGMENTS, ids=[path.stem for path, _ in FRAGMENTS])
def test_the_example_is_right(path, text):
    manager = {
        "route_config": {"routes": [{"match": {"prefix": "/"}, "route": {"cluster": "c"}}]},
        "http_filters": yaml.safe_load(text)["http_filters"],
    }
    chain = {"filters": [{"name": "dgp.filter.httpconnectionmanager", "config": manager}]}
    endpoint = {"id": "e", "socket_address": {"address": "127.0.0.1", "port": 1}}
    resources = {"listeners": [{"filter_chains": chain}], "clusters": [{"name": "c", "endpoints": [endpoint]}]}
    loaded = load_text(yaml.safe_dump({"static_resources": resources}), REGISTRY, {"CSRF_SECRET": "s"})
    assert loaded.warnings == []
    assert path.read_text("utf-8").splitlines()[0] == f"# {manager['http_filters'][0]['name']}"
