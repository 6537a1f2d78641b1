"""docs/plugins.md tells the truth: its plugins do, in a whole gateway, what they say."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson

from pixiu_py.plugins import build_registry
from pixiu_py.stores.base import Store
from tests.conftest import StartGateway
from tests.docs.pages import blocks, read
from tests.fakes.actions import respond
from tests.fakes.bodies import chat, error
from tests.fakes.conf import endpoint, http_filter, llm_conf
from tests.fakes.upstream import Upstream

MESSAGE = {"role": "user", "content": "Hello"}


def shown(kind: str, folder: Path) -> type[Any]:
    """The plugin of the guide with this kind, loaded from a plugins folder."""
    (text,) = (block for block in blocks(read("plugins.md"), "python") if f'"{kind}")' in block)
    (folder / "shown.py").write_text(text, "utf-8")
    (entry,) = (entry for entry in build_registry(folder) if entry.kind == kind)
    return entry.cls


async def test_a_filter_asks_a_service_and_the_key_goes_no_further(gateway: StartGateway, tmp_path: Path) -> None:
    """A yes lets the request on; a no is a 401, and so is no key at all; a service that fails is a 503."""
    plugin = shown("acme.filter.keys", tmp_path)
    async with Upstream(chat("ok")) as upstream, Upstream([respond(), error(404), error(500)]) as service:
        keys = http_filter("acme.filter.keys", url=f"http://{service.address}/keys")
        running = await gateway(llm_conf(endpoint(upstream), filters=[keys]), plugin)
        replies = [await running.chat(headers={"Authorization": f"Bearer {name}"}) for name in "abc"]
        assert [reply.status for reply in replies] == [200, 401, 503]
        assert (await running.chat()).status == 401
    assert [request.json() for request in service.requests] == [{"key": f"Bearer {name}"} for name in "abc"]
    assert upstream.request.header("authorization") is None


async def test_an_edit_changes_what_every_attempt_sends(gateway: StartGateway, tmp_path: Path) -> None:
    """Once, however many attempts there are."""
    plugin = shown("acme.filter.rules", tmp_path)
    async with Upstream([error(500), chat("ok")]) as upstream:
        text = llm_conf(endpoint(upstream, retry=1), filters=[http_filter("acme.filter.rules")])
        running = await gateway(text, plugin)
        assert (await running.chat(messages=[MESSAGE])).status == 200
    sent = [orjson.loads(request.body)["messages"] for request in upstream.requests]
    assert sent == [[{"role": "system", "content": "Be brief."}, MESSAGE]] * 2


async def test_the_store_keeps_its_contract(tmp_path: Path) -> None:
    """As far as sessions need it: one adds, a swap needs what is there, what has ended is gone, the rest outlives it."""
    plugin = shown("acme.file", tmp_path)
    config = plugin.Config(path=str(tmp_path / "entries.db"))
    store: Store = plugin(config)
    await store.start()
    added = await asyncio.gather(*(store.add("k", b"%d" % number) for number in range(9)))
    first = b"%d" % added.index(True)
    assert sum(added) == 1
    assert await store.get("k") == first
    assert not await store.swap("k", b"other", b"new")
    assert await store.swap("k", first, b"new")
    await store.add("short", b"1", ttl=1e-9)
    assert await store.get("short") is None
    assert await store.add("short", b"2")
    await store.close()
    again: Store = plugin(config)
    await again.start()
    assert [await again.get("k"), await again.get("short"), await again.get("other")] == [b"new", b"2", None]
    await again.close()
