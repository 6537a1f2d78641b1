"""The page about KV-cache routing: the metrics that it names are there, and its command lines are those that are tested."""

from __future__ import annotations

import re

import orjson
import pytest

from pixiu_py.config.types import parse_size
from pixiu_py.filters.ai.kvcache import feed, poller, replay, subscriber, toolbox
from pixiu_py.filters.ai.kvcache.config import KvCacheConfig, TokenCacheConfig
from pixiu_py.filters.ai.kvcache.index import remote
from pixiu_py.filters.ai.kvcache.index.kv_events import KvEventsConfig
from pixiu_py.filters.ai.kvcache.index.lmcache import LmcacheConfig, LmcacheIndex
from pixiu_py.filters.ai.kvcache.toolbox import Toolbox
from pixiu_py.upstream import client
from tests.docs.pages import ROOT, read, section, tables
from tests.engines.servers import KvEvents
from tests.fakes.clusters import cluster_context

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


#: Limits without a key: how the row begins → the number in the source.
FIXED = {
    "an answer of a service": client.MAX_ANSWER,
    "tokens of these prompts": toolbox.MOST_TOKENS,
    "engines whose load": poller.CONCURRENCY,
    "jobs in the background": remote._MOST_JOBS,
    "engines, and ranks": subscriber.MOST_SOURCES,
    "messages of engines": feed.QUEUE,
    "one message": feed.MAX_MESSAGE,
    "all messages": replay.MAX_REPLAY,
}


def test_the_limits_are_those_of_the_source() -> None:
    """With a key, its default, or what stands in for 0; without one, the number in the module."""
    rows = tables(section("kv-cache-routing.md", "Limits"))[0]
    assert len([row for row in rows if row[1] == "fixed"]) == len(FIXED)
    for what, key, default, _ in rows:
        if key == "fixed":
            (found,) = [value for start, value in FIXED.items() if what.startswith(start)]
            assert parse_size(default) == found
    settings = KvCacheConfig(token_cache=TokenCacheConfig(enabled=True), lmcache_endpoint="http://127.0.0.1:1")
    shown = {key.strip("`"): default for _, key, default, _ in rows}
    assert shown["lookup_routing_timeout"] == f"{settings.routing_budget * 1000:.0f}ms"
    assert int(shown["index.max_blocks"]) == KvEventsConfig().max_blocks
    cache = Toolbox(settings, cluster_context()).token_source().cache
    assert cache is not None
    assert int(shown["token_cache.max_size"]) == cache._max_size
    index = LmcacheIndex(LmcacheConfig(), settings, cluster_context())
    assert int(shown["hot_max_keys"]) == index._hot._max_keys
    assert int(shown["hot_max_records"]) == index._hot._max_records
    assert int(shown["max_idle_conns"]) == index._tools.client._most - client.MOST_WAITING


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
