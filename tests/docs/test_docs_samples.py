"""Whatever the documentation shows can be used: configurations load, plugins register, samples answer."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from pixiu_py.config.load import load_text
from pixiu_py.gateway import Gateway
from pixiu_py.plugins import build_registry
from tests.docs.pages import PAGES, ROOT, blocks, name_of
from tests.fakes.client import Client

Block = dict[str, Any]

MOCK = "dgp.filter.llm.mock"
MANAGER = "dgp.filter.httpconnectionmanager"
ANSWERING = {MOCK, "dgp.filter.http.httpproxy", "dgp.filter.llm.proxy"}
TOP_KEYS = {"access_log", "log", "metric"}
#: Environment of the examples.
ENVIRON = {"CSRF_SECRET": "s", "OPENAI_API_KEY": "k", "REDIS_URL": "redis://127.0.0.1"}


def plugin_pages() -> list[Path]:
    """The pages that show plugins."""
    return [page for page in PAGES if plugins_of(page)]


def plugins_of(page: Path) -> list[str]:
    """The plugins that a page shows."""
    return [block for block in blocks(page.read_text("utf-8"), "python") if "@plugin(" in block]


def listener(*filters: Block) -> Block:
    """A listener with one route and these filters."""
    config = {"http_filters": list(filters), "route_config": {"routes": [{"match": {"prefix": "/"}, "route": {}}]}}
    return {"filter_chains": {"filters": [{"name": MANAGER, "config": config}]}}


def whole(text: str) -> str:
    """A configuration around a part of one, as the pages show them."""
    document: Block = yaml.safe_load(text)
    if "static_resources" in document:
        return text
    top = {key: document.pop(key) for key in TOP_KEYS & set(document)}
    filters = document.pop("http_filters", [{"name": MOCK}])
    if not ANSWERING & {block["name"] for block in filters}:
        filters = [*filters, {"name": MOCK}]
    return yaml.safe_dump({**top, "static_resources": {"listeners": [listener(*filters)], **document}})


EXAMPLES = [(page, text) for page in PAGES for text in blocks(page.read_text("utf-8"), "yaml")]


@pytest.mark.parametrize(("page", "text"), EXAMPLES, ids=[name_of(page) for page, _ in EXAMPLES])
def test_an_example_is_right(page: Path, text: str, tmp_path: Path) -> None:
    """It loads without a warning, together with the plugins of its page."""
    for number, plugin in enumerate(plugins_of(page)):
        (tmp_path / f"plugin_{number}.py").write_text(plugin, "utf-8")
    loaded = load_text(whole(text), build_registry(tmp_path), ENVIRON)
    assert loaded.warnings == []


@pytest.mark.parametrize("page", plugin_pages(), ids=name_of)
def test_a_plugin_registers(page: Path, tmp_path: Path) -> None:
    """Each ``@plugin`` on the page is one more plugin."""
    for number, text in enumerate(plugins_of(page)):
        (tmp_path / f"plugin_{number}.py").write_text(text, "utf-8")
    entries = [entry for entry in build_registry(tmp_path) if entry.place.startswith(str(tmp_path))]
    assert len(entries) == sum(text.count("@plugin(") for text in plugins_of(page))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_is_python(page: Path) -> None:
    """Every other block of Python can be compiled."""
    for text in blocks(page.read_text("utf-8"), "python"):
        compile(text, name_of(page), "exec")


# --- conf ------------------------------------------------------------------------------------------------------------


def mocks(document: Block) -> list[str]:
    """Names of the listeners that are models."""
    return [
        listener["name"]
        for listener in document["static_resources"]["listeners"]
        if listener["filter_chains"]["filters"][0]["config"]["http_filters"][-1]["name"] == MOCK
    ]


SAMPLES = [path for path in sorted((ROOT / "conf").glob("*.yaml")) if re.search(MOCK, path.read_text("utf-8"))]


@pytest_asyncio.fixture(params=SAMPLES, ids=name_of)
async def sample(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Gateway, Block]]:
    """A sample at work on free ports."""
    document: Block = yaml.safe_load(request.param.read_text("utf-8"))
    for listener in document["static_resources"]["listeners"]:
        listener["address"]["socket_address"].update(address="127.0.0.1", port=0)
    document["access_log"] = {"enable": False}
    registry = build_registry(ROOT / "plugins")
    gateway = Gateway(load_text(yaml.safe_dump(document), registry, {}).config, registry)
    await gateway.start()
    yield gateway, document
    await gateway.stop()


async def test_every_model_of_a_sample_answers(sample: tuple[Gateway, Block]) -> None:
    """What a sample needs, it brings."""
    gateway, document = sample
    assert mocks(document)
    for name in mocks(document):
        async with Client(gateway.addresses[name][1]) as client:
            assert (await client.request("GET", "/v1/models")).status == 200
