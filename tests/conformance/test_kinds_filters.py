"""What every registered HTTP filter promises while it lives: its start and its end, its requests, and no shared state."""

from __future__ import annotations

import gc
import inspect
import os
import random
import re
from collections import deque
from enum import Enum
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import pytest
from msgspec import Struct

from pixiu_py.errors import StartError
from pixiu_py.filters.base import Context, HttpFilter
from pixiu_py.http.exchange import Exchange
from pixiu_py.registry import Entry, Family, plugin
from tests.conftest import StartGateway
from tests.fakes import actions, bodies
from tests.fakes.client import chat_body, request
from tests.fakes.clusters import cluster_context
from tests.fakes.conf import Block, conf, endpoint, http_filter
from tests.fakes.gateway import RunningGateway
from tests.fakes.kinds import FILTERS, REGISTRY, SAMPLES, decoded, name
from tests.fakes.upstream import Upstream, refusing_port

PROXY = http_filter("dgp.filter.http.httpproxy")
MOCK = "dgp.filter.llm.mock"
CHAT = "/v1/chat/completions"
KIND = "test.subject"

every_filter = pytest.mark.parametrize("entry", FILTERS, ids=name)
every_passing_filter = pytest.mark.parametrize("entry", [e for e in FILTERS if not e.cls.terminal], ids=name)
every_calling_filter = pytest.mark.parametrize("entry", [e for e in FILTERS if e.kind != MOCK], ids=name)


def build(entry: Entry, config: Block, context: Context) -> HttpFilter:
    """An instance that has not been started."""
    made: HttpFilter = entry.cls(decoded(entry, config), context)
    return made


# --- life ------------------------------------------------------------------------------------------------------------


def full_context() -> Context:
    """A context that knows every plugin: a filter may have plugins of its own."""
    context = cluster_context()
    context.registry = REGISTRY
    return context


@every_filter
def test_it_is_built_without_loop_and_opens_nothing(entry: Entry) -> None:
    """A configuration can be validated wherever there is no event loop."""
    before = len(os.listdir("/proc/self/fd"))
    for config in (SAMPLES[entry.kind].config, SAMPLES[entry.kind].working):
        build(entry, config, full_context())
    assert len(os.listdir("/proc/self/fd")) == before


@every_filter
async def test_it_starts_and_closes_and_may_be_closed_again(entry: Entry) -> None:
    """Also when it has never been started, because one before it failed; no task is left behind."""
    for started in (True, False):
        context = full_context()
        instance = build(entry, SAMPLES[entry.kind].config, context)
        if started:
            await instance.start()
        await instance.close()
        await instance.close()
        assert len(context.tasks) == 0


@pytest.mark.parametrize("entry", [e for e in FILTERS if SAMPLES[e.kind].fails], ids=name)
async def test_it_can_be_closed_after_it_failed_to_start(entry: Entry) -> None:
    """It says why it cannot start; what it had opened by then is closed."""
    instance = build(entry, SAMPLES[entry.kind].fails or {}, full_context())
    with pytest.raises(StartError, match=r"\w"):
        await instance.start()
    await instance.close()


@plugin(Family.HTTP_FILTER, "test.trouble")
class Trouble(HttpFilter):
    """Cannot start."""

    async def start(self) -> None:
        """Fail."""
        raise StartError("told to fail")


@every_filter
async def test_it_is_closed_when_another_filter_cannot_start(gateway: StartGateway, entry: Entry) -> None:
    """The fixture finds what is left of it."""
    subject = http_filter(entry.kind, **SAMPLES[entry.kind].working)
    trouble = http_filter("test.trouble")
    filters = [trouble, subject] if entry.cls.terminal else [subject, trouble, PROXY]
    with pytest.raises(StartError, match="told to fail"):
        await gateway(conf(endpoint(1), filters=filters), *watched(entry, []), Trouble)


# --- requests --------------------------------------------------------------------------------------------------------


def watched(entry: Entry, ends: list[str]) -> list[type[Any]]:
    """The kind of ``entry`` as ``test.subject``, noting its ends; and itself, where a gateway does not know it."""

    def note(self: HttpFilter, exchange: Exchange) -> Any:
        ends.append(exchange.end_reason)
        return entry.cls.done(self, exchange)

    async def note_and_wait(self: HttpFilter, exchange: Exchange) -> None:
        ends.append(exchange.end_reason)
        await entry.cls.done(self, exchange)

    done = note_and_wait if inspect.iscoroutinefunction(entry.cls.done) else note
    subject = plugin(Family.HTTP_FILTER, KIND)(type("Subject", (entry.cls,), {"done": done}))
    return [subject, entry.cls] if entry.kind.startswith("example.") else [subject]


def chain(entry: Entry, **config: Any) -> list[Block]:
    """The filter under test in its smallest configuration, before a proxy if it needs one."""
    subject = http_filter(KIND, **SAMPLES[entry.kind].config, **config)
    return [subject] if entry.cls.terminal else [subject, PROXY]


def ask(entry: Entry, **more: Any) -> bytes:
    """A chat completion request that the filter lets pass."""
    return request("POST", CHAT, dict(SAMPLES[entry.kind].passes), chat_body(**more))


@every_filter
async def test_done_is_called_once_after_an_answer(gateway: StartGateway, entry: Entry) -> None:
    """Plain or streamed, over one connection."""
    ends: list[str] = []
    async with Upstream([bodies.chat("a"), bodies.chat_sse("a")]) as upstream:
        running = await gateway(conf(endpoint(upstream), filters=chain(entry)), *watched(entry, ends))
        async with running.client() as client:
            for count, streams in enumerate((False, True), 1):
                await client.send(ask(entry, model="mock-small", stream=streams))
                reply = await client.read_response()
                assert (reply.status, reply.complete) == (200, True)
                await running.wait_log(count)
    assert ends == ["complete"] * 2


@every_filter
async def test_done_is_called_once_after_a_request_that_breaks_off(gateway: StartGateway, entry: Entry) -> None:
    """In the middle of its body comes what is no chunk."""
    ends: list[str] = []
    async with Upstream(bodies.chat("a")) as upstream:
        running = await gateway(conf(endpoint(upstream), filters=chain(entry)), *watched(entry, ends))
        async with running.client() as client:
            fields = {**SAMPLES[entry.kind].passes, "Transfer-Encoding": "chunked", "Expect": "100-continue"}
            await client.send(request("POST", CHAT, fields))
            assert (await client.read_head()).status == 100
            await client.send(b"5\r\nhello\r\nno chunk at all\r\n")
            assert 400 <= (await client.read_response()).status < 500
        await running.wait_log()
    assert len(ends) == 1


@every_calling_filter
async def test_done_is_called_once_after_a_failure(gateway: StartGateway, entry: Entry) -> None:
    """Of the connection, of an answer half way, and of a stream half way."""
    ends: list[str] = []
    broken = [actions.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", then="close"), bodies.cut_sse("a")]
    with refusing_port() as port:
        running = await gateway(conf(endpoint(port), filters=chain(entry)), *watched(entry, ends))
        async with running.client() as client:
            await client.send(ask(entry))
            assert (await client.read_response()).status == 502
        await running.wait_log()
    assert len(ends) == 1
    async with Upstream(broken) as upstream:
        running = await gateway(conf(endpoint(upstream), filters=chain(entry)), *watched(entry, ends))
        for count in (1, 2):
            async with running.client() as client:
                await client.send(ask(entry, stream=True))
                await client.read_response()
            await running.wait_log(count)
    assert len(ends) == 3
    assert "complete" not in ends[1:]


@every_filter
async def test_done_is_called_once_when_the_client_leaves(gateway: StartGateway, entry: Entry) -> None:
    """In the middle of a stream."""
    ends: list[str] = []
    config = {"token_interval": "1h"} if entry.kind == MOCK else {}
    async with Upstream([actions.stream(bodies.chat_events("a")[:1], then="hold")]) as upstream:
        running = await gateway(conf(endpoint(upstream), filters=chain(entry, **config)), *watched(entry, ends))
        async with running.client() as client:
            await client.send(ask(entry, model="mock-small", stream=True))
            await client.read_until(b"data: ")
        await running.wait_log()
    assert ends == ["client_gone"]


@every_calling_filter
async def test_done_is_called_once_when_the_client_leaves_unanswered(gateway: StartGateway, entry: Entry) -> None:
    """While the endpoint thinks."""
    ends: list[str] = []
    async with Upstream([actions.stall()]) as upstream:
        running = await gateway(conf(endpoint(upstream), filters=chain(entry)), *watched(entry, ends))
        async with running.client() as client:
            await client.send(ask(entry))
            await upstream.until_requests(1)
        await running.wait_log()
    assert ends == ["client_gone"]


@every_passing_filter
async def test_it_lets_a_request_pass_or_answers_itself(gateway: StartGateway, entry: Entry) -> None:
    """What it lets pass arrives with its body; what it refuses does not arrive, and is told in the agreed shape."""
    async with Upstream(bodies.chat("a")) as upstream:
        running = await gateway(conf(endpoint(upstream), filters=chain(entry)), *watched(entry, []))
        reply = await running.request("POST", CHAT, {}, chat_body())
        if SAMPLES[entry.kind].passes:
            document: Any = reply.json()
            assert 400 <= reply.status < 500
            assert document["status"] == reply.status
            assert document["message"]
            assert upstream.requests == []
        reply = await running.request("POST", CHAT, dict(SAMPLES[entry.kind].passes), chat_body())
        assert (reply.status, upstream.requests[-1].body) == (200, chat_body())


# --- no shared state -------------------------------------------------------------------------------------------------


async def statuses(running: RunningGateway, count: int) -> list[int]:
    """The answers to so many equal requests."""
    return [(await running.request("GET", "/", {"x-team": "red"})).status for _ in range(count)]


@every_filter
async def test_what_one_gateway_has_seen_another_has_not(gateway: StartGateway, entry: Entry) -> None:
    """The second gateway's first answer is the first one's first, whatever that one has counted since."""
    subject = http_filter(KIND, **SAMPLES[entry.kind].working)
    filters = [subject] if entry.cls.terminal else [subject, PROXY]
    async with Upstream(actions.respond(500)) as upstream:
        text = conf(endpoint(upstream), filters=filters)
        first, second = [await gateway(text, *watched(entry, [])) for _ in range(2)]
        seen = await statuses(first, 2)
        assert await statuses(second, 2) == seen
    if entry.kind in ("dgp.filter.http.ratelimit", "dgp.filter.http.circuitbreaker"):
        assert seen[0] != seen[1], "these have a state that can be seen"


def is_shareable(thing: Any) -> bool:
    """True for what cannot change, and for what belongs to nobody: code, configuration, other people's classes."""
    nobodys = (type, ModuleType, FunctionType, BuiltinFunctionType, re.Pattern, Struct, Enum, Context)
    return thing is None or isinstance(thing, (*nobodys, str, bytes, int, float))


def changeable(root: Any) -> dict[int, Any]:
    """What can be changed of all that belongs to ``root``."""
    found: dict[int, Any] = {}
    seen = {id(root)}
    waiting = [root]
    while waiting:
        thing = waiting.pop()
        own_class = type(thing).__module__.startswith(("pixiu_py.", "_pixiu_plugins_"))
        if isinstance(thing, (list, dict, set, deque, bytearray, random.Random)) or own_class:
            found[id(thing)] = thing
        for below in gc.get_referents(thing):
            if id(below) not in seen and not is_shareable(below):
                seen.add(id(below))
                waiting.append(below)
    return found


@every_filter
def test_two_instances_share_nothing_that_can_change(entry: Entry) -> None:
    """Made from one configuration for two gateways; and their class holds nothing that could be changed through one."""
    config = decoded(entry, SAMPLES[entry.kind].working)
    one, two = [changeable(entry.cls(config, full_context())) for _ in range(2)]
    shared = [one[key] for key in one.keys() & two.keys()]
    assert not shared
    for cls in entry.cls.__mro__[:-1]:
        tables = [key for key, value in vars(cls).items() if isinstance(value, (list, dict, set, deque))]
        assert [key for key in tables if not key.startswith("__")] == []


def test_what_is_shared_would_be_found() -> None:
    """The measure itself."""

    class Sharing:
        def __init__(self, table: dict[str, int]) -> None:
            self.inner = (1, [table])

    table: dict[str, int] = {}
    one, two = changeable(Sharing(table)), changeable(Sharing(table))
    assert [one[key] for key in one.keys() & two.keys()] == [table]
