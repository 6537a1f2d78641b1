"""Many clients, endpoints that misbehave at random: whatever happens, nobody gets another's answer or half of one."""

from __future__ import annotations

import asyncio
import random

import orjson
import pytest

from tests.conftest import StartGateway
from tests.fakes import actions, bodies
from tests.fakes.bodies import chat, error
from tests.fakes.client import Client, Reply, chat_body, request
from tests.fakes.conf import endpoint, llm_conf
from tests.fakes.flaky import Flaky
from tests.fakes.gateway import RunningGateway
from tests.fakes.upstream import Action, Request, Upstream

CLIENTS = 20
REQUESTS = 25


def kind(seen: Request, words: int = 50) -> Action:
    """A good answer for the user that asks."""
    document = seen.json()
    assert isinstance(document, dict)
    return bodies.chat_sse(document["user"], words) if document.get("stream") else chat(document["user"])


class Moody:
    """Answers for the user that asks, or fails in one of many ways."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def __call__(self, seen: Request) -> Action:
        """Mostly well."""
        how = self._rng.choice(["close", "reset"])
        bad = [
            error(500),
            error(503),
            error(429),
            actions.close(),
            actions.reset(),
            actions.close(b"HTTP/1.1 200 OK\r\nContent-Le"),
            actions.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", then="reset"),
            bodies.cut_sse("user-cut", how=how),
            bodies.error_sse(),
        ]
        if self._rng.random() < 0.3:
            return self._rng.choice(bad)
        return kind(seen, words=self._rng.randrange(1, 30))


def check(reply: Reply, user: str, streams: bool) -> None:
    """A good answer is whole and this user's; a bad one can be told from a good one."""
    if reply.status != 200 or not reply.complete:
        return
    if b'"error"' in reply.body:
        assert b"[DONE]" not in reply.body
        return
    foreign = [word for word in reply.body.replace(b'"', b" ").split() if word.startswith(b"user-")]
    assert foreign
    assert all(word.startswith(user.encode()) for word in foreign)
    if streams:
        assert reply.body.endswith(bodies.DONE)
    else:
        assert orjson.loads(reply.body)["choices"][0]["message"]["content"] == user


async def one_client(running: RunningGateway, number: int) -> int:
    """Some requests, one after the other; some clients leave early. Returns how many good answers came."""
    rng = random.Random(number)
    good = 0
    for turn in range(REQUESTS):
        user, streams = f"user-{number}-{turn}-", rng.random() < 0.5
        async with running.client() as client:
            if rng.random() < 0.1:
                await leave_early(client, user)
                continue
            reply = await client.chat(stream=streams, user=user)
            check(reply, user, streams)
            good += reply.status == 200 and b'"error"' not in reply.body
    return good


async def leave_early(client: Client, user: str) -> None:
    """Ask, and do not wait for the whole answer."""
    await client.send(request("POST", "/v1/chat/completions", body=chat_body(stream=True, user=user)))
    await asyncio.sleep(0)
    client.abort()


@pytest.mark.parametrize("seed", range(3))
async def test_moody_endpoints(gateway: StartGateway, seed: int) -> None:
    """Three endpoints fail a third of the time: nearly every request is answered well all the same, and none wrongly."""
    async with Upstream(Moody(seed)) as a, Upstream(Moody(seed + 10)) as b, Upstream(Moody(seed + 20)) as c:
        endpoints = [endpoint(up, retry=1, fallback=True) for up in (a, b, c)]
        running = await gateway(llm_conf(*endpoints))
        good = await asyncio.gather(*(one_client(running, number) for number in range(CLIENTS)))
        assert sum(good) > 0.6 * CLIENTS * REQUESTS
        assert len(await running.wait_log(CLIENTS * REQUESTS)) == CLIENTS * REQUESTS


async def test_network_that_breaks_down_and_comes_back(gateway: StartGateway) -> None:
    """While connections are cut under it the gateway answers somehow; afterwards it serves as before."""
    async with Upstream(kind) as upstream:
        async with Flaky(upstream.port) as network:
            running = await gateway(llm_conf(endpoint(network.port, retry=2)))
            async with asyncio.TaskGroup() as group:
                for number in range(CLIENTS):
                    group.create_task(one_client(running, number))
                for _ in range(20):
                    await asyncio.sleep(0.01)
                    network.drop()
            assert (await running.chat(stream=True, user="user-x-")).body.endswith(bodies.DONE)
