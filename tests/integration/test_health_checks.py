"""Active health checks: a sick endpoint gets no requests, a recovered one does."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import StartGateway
from tests.fakes.actions import respond
from tests.fakes.bodies import chat
from tests.fakes.conf import endpoint, llm_conf
from tests.fakes.gateway import RunningGateway
from tests.fakes.upstream import Action, Request, Upstream

TIMES = {"interval": "20ms", "timeout": "500ms", "healthy_threshold": 1, "unhealthy_threshold": 1}


class Patient:
    """An endpoint that is asked for its health."""

    def __init__(self, label: str) -> None:
        self.healthy = True
        self.label = label

    def __call__(self, seen: Request) -> Action:
        """Answer a probe by its health, anything else with its label."""
        if seen.target == "/health":
            return respond(200 if self.healthy else 503)
        return chat(self.label)


async def answered_by(running: RunningGateway) -> set[str]:
    """Who answers four requests; a failure answers for nobody."""
    replies = [await running.chat() for _ in range(4)]
    return {reply.json()["choices"][0]["message"]["content"] if reply.status == 200 else "" for reply in replies}


async def until_answered_by(running: RunningGateway, who: set[str]) -> None:
    """Wait until exactly these endpoints answer."""
    async with asyncio.timeout(5):
        while await answered_by(running) != who:
            await asyncio.sleep(0.02)  # a verdict has no event that a test could wait for


async def test_http_check_takes_out_and_brings_back(gateway: StartGateway) -> None:
    """By the status of the probe."""
    first, second = Patient("a"), Patient("b")
    async with Upstream(first) as one, Upstream(second) as two:
        check = {"protocol": "http", "path": "/health", **TIMES}
        running = await gateway(llm_conf(endpoint(one), endpoint(two), cluster={"health_checks": [check]}))
        await until_answered_by(running, {"a", "b"})
        first.healthy = False
        await until_answered_by(running, {"b"})
        first.healthy = True
        await until_answered_by(running, {"a", "b"})


async def test_tcp_check_takes_out_and_brings_back(gateway: StartGateway) -> None:
    """By whether anybody listens."""
    async with Upstream(chat("a")) as one, Upstream(chat("b")) as two:
        check = {"protocol": "tcp", **TIMES}
        running = await gateway(llm_conf(endpoint(one), endpoint(two), cluster={"health_checks": [check]}))
        await one.stop_listening()
        for connection in one.connections:
            connection.close()
        await until_answered_by(running, {"b"})
        await one.listen()
        await until_answered_by(running, {"a", "b"})


@pytest.mark.parametrize("count", [1, 2])
async def test_nobody_healthy_is_no_reason_to_give_up(gateway: StartGateway, count: int) -> None:
    """When every probe fails the checks themselves may be at fault: requests are still tried."""
    patient = Patient("a")
    patient.healthy = False
    async with Upstream(patient) as upstream:
        check = {"protocol": "http", "path": "/health", **TIMES}
        endpoints = [endpoint(upstream, f"e{n}") for n in range(count)]
        running = await gateway(llm_conf(*endpoints, cluster={"health_checks": [check]}))
        await upstream.until_requests(2 * count)
        assert await answered_by(running) == {"a"}
