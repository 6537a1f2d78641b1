"""Rule: an endpoint that dies costs nobody an answer, save those whose answer had begun; and these can tell."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import pytest

from tests.conftest import StartGateway
from tests.fakes import actions, bodies
from tests.fakes.actions import JSON, SSE
from tests.fakes.client import PATIENCE, Reply, chat_body, request
from tests.fakes.conf import endpoint, llm_conf
from tests.fakes.gateway import RunningGateway
from tests.fakes.upstream import Action, Request, Upstream
from tests.fakes.wire import chunk, read_body

REQUESTS = 200
EVENTS = bodies.chat_events("victim")


class Kind(NamedTuple):
    """What a request is, and how far the endpoint that will die has got with it by then."""

    number: int
    #: Whether an event stream is asked for.
    streams: bool
    #: ``silent``: nothing sent, ``head``, or ``begun``: a part of the body.
    progress: str


SORTS = list(product((True, False), ("silent", "head", "begun")))
#: Mixed, so that each endpoint gets some of every sort, in whichever order the requests come.
KINDS = [Kind(number, *random.Random(number).choice(SORTS)) for number in range(REQUESTS)]


def kind_of(seen: Request) -> Kind:
    """What the endpoint knows of a request."""
    return KINDS[int(seen.header("x-number") or 0)]


def stuck(seen: Request) -> Action:
    """Get so far, and no further."""
    kind = kind_of(seen)
    fields = [SSE, (b"Transfer-Encoding", b"chunked")] if kind.streams else [JSON, (b"Content-Length", b"100")]
    part = b"".join(map(chunk, EVENTS[:2])) if kind.streams else b'{"from": "victim", '
    pieces = {"silent": b"", "head": actions.head(200, fields), "begun": actions.head(200, fields) + part}
    return actions.raw(pieces[kind.progress], asyncio.Event())


def good(seen: Request, release: asyncio.Event) -> Action:
    """A whole answer, once it may be given."""
    answer = bodies.chat_sse("good") if kind_of(seen).streams else bodies.chat("good")
    return actions.stall(release, answer)


async def ask(running: RunningGateway, kind: Kind, begun: set[int]) -> Reply:
    """One request, and what came of it; ``begun`` gets its number as soon as a part of the body is there."""
    async with running.client() as client:
        fields = {"x-number": str(kind.number), "Connection": "close"}
        await client.send(request("POST", "/v1/chat/completions", fields, chat_body(stream=kind.streams)))
        reply = await client.read_head()
        async with asyncio.timeout(PATIENCE):
            start = await client.reader.readexactly(1)
        begun.add(kind.number)
        body = asyncio.StreamReader()
        body.feed_data(start + await client.read_rest())
        body.feed_eof()
        await read_body(body, reply, until_close=True)
        return reply


async def until(condition: Callable[[], bool]) -> None:
    """Wait until ``condition()`` holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)  # the clients have no common event


async def kill(victim: Upstream, how: str) -> None:
    """What others see of an endpoint whose process is killed."""
    await victim.stop_listening()
    for connection in victim.connections:
        if how == "reset":
            connection.reset()
        else:
            connection.close()


def check(kind: Kind, reply: Reply, was_begun: bool) -> None:
    """Whole and good; or, if it had begun, cut off so that it shows."""
    assert reply.status == 200
    if not was_begun:
        assert reply.complete
        assert b"good" in reply.body
        assert b"victim" not in reply.body
        assert reply.body.endswith(bodies.DONE) or not kind.streams
    elif kind.streams:
        assert reply.complete
        assert reply.body.startswith(b"".join(EVENTS[:2]) + b'data: {"error"')
        assert b"[DONE]" not in reply.body
    else:
        assert not reply.complete


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_an_endpoint_is_killed_while_many_requests_are_under_way(gateway: StartGateway, how: str) -> None:
    """Half of them are with it: without a byte, with a head, or half way through their answer."""
    release = asyncio.Event()
    begun: set[int] = set()
    async with Upstream(stuck) as victim, Upstream(lambda seen: good(seen, release)) as survivor:
        running = await gateway(llm_conf(endpoint(victim, fallback=True), endpoint(survivor, fallback=True)))
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(ask(running, kind, begun)) for kind in KINDS]
            await until(lambda: len(victim.requests) + len(survivor.requests) == REQUESTS)
            with_victim = {kind_of(seen) for seen in victim.requests}
            half_way = {kind.number for kind in with_victim if kind.progress == "begun"}
            await until(lambda: begun == half_way)
            await kill(victim, how)
            release.set()
    assert len(with_victim) == REQUESTS // 2
    assert {(kind.streams, kind.progress) for kind in with_victim} == set(SORTS)
    for kind, asked in zip(KINDS, asking, strict=True):
        check(kind, asked.result(), kind.number in half_way)
    ends = [line["end"] for line in await running.wait_log(REQUESTS)]
    assert ends.count("complete") == REQUESTS - len(half_way)
