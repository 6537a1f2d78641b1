"""Rule: what one worker of a machine learns about an endpoint, the others heed; real processes on one port."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.fakes import actions, bodies
from tests.fakes.actions import respond
from tests.fakes.bodies import chat
from tests.fakes.client import Client, chat_body, request
from tests.fakes.conf import endpoint, llm_conf
from tests.fakes.process import (
    GatewayProcess,
    find_free_port,
    gateway_process,
    on_port,
    worker_of,
    workers_of,
)
from tests.fakes.upstream import Action, Request, Upstream

#: Within which workers agree. It takes milliseconds; a machine that is busy may take longer.
SOON = 1.0
CHECK = {
    "protocol": "http",
    "path": "/health",
    "interval": "100ms",
    "timeout": "2s",
    "healthy_threshold": 1,
    "unhealthy_threshold": 1,
}


class Machine:
    """Two workers, and a connection to each."""

    def __init__(self, process: GatewayProcess, port: int, stack: AsyncExitStack) -> None:
        self.process = process
        self._port = port
        self._stack = stack
        self.clients: dict[int, Client] = {}

    async def connect(self) -> tuple[Client, Client]:
        """Connect until each worker that is there has a connection."""
        async with asyncio.timeout(20):
            while len(self.clients) < 2 or set(self.clients) != set(workers_of(self.process.pid)):
                client = await self._stack.enter_async_context(Client(self._port))
                mine = client.writer.get_extra_info("sockname")[1]
                while not (worker := worker_of(self.process.pid, self._port, mine)):
                    await asyncio.sleep(0.01)  # that it is taken has no event here
                self.clients.setdefault(worker, client)
                for gone in set(self.clients).difference(workers_of(self.process.pid)):
                    del self.clients[gone]
        first, second = self.clients.values()
        return first, second


@asynccontextmanager
async def machine(folder: Path, text: str) -> AsyncIterator[Machine]:
    port = find_free_port()
    async with gateway_process(folder, on_port(port, text), "-m", "2") as process, AsyncExitStack() as stack:
        await process.until_printed(r"(?s)listening.*listening")
        yield Machine(process, port, stack)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = SOON) -> None:
    """Wait until it is so, not longer than workers may take to agree."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


class Sick:
    """An endpoint that fails while it is told to, and counts what it is asked."""

    def __init__(self) -> None:
        self.well = True
        self.asked = 0
        self.probed = 0

    def __call__(self, seen: Request) -> Action:
        if seen.target == "/health":
            self.probed += 1
            return respond(200 if self.well else 503)
        self.asked += 1
        return chat("sick") if self.well else respond(500)


async def said(client: Client) -> str:
    reply = await client.chat()
    assert reply.status == 200, reply
    return str(reply.json()["choices"][0]["message"]["content"])


def sick_and_good(sick: Upstream, good: Upstream, **changes: object) -> str:
    # By weight, so that each request of each worker begins at the sick one.
    return llm_conf(
        endpoint(sick, "sick", fallback=True, health_check_interval=60_000, outer={"meta": {"weight": 1}}),
        endpoint(good, "good", outer={"meta": {"weight": 0}}),
        cluster={"lb_policy": "WeightRandom", **changes},
    )


async def test_cooldown_begun_in_one_worker_is_heeded_by_the_other(tmp_path: Path) -> None:
    """The other worker does not try the endpoint itself to find out; nor does a worker that is started later."""
    script = Sick()
    async with Upstream(script) as sick, Upstream(chat("good")) as good:
        async with machine(tmp_path, sick_and_good(sick, good)) as running:
            first, second = await running.connect()
            assert [await said(first), await said(second)] == ["sick", "sick"]
            script.well = False
            assert await said(first) == "good"
            await asyncio.sleep(SOON / 2)
            asked = script.asked
            assert [await said(second) for _ in range(5)] == ["good"] * 5
            assert script.asked == asked

            oldest = next(iter(running.clients))
            os.kill(oldest, signal.SIGKILL)
            await running.process.until_printed(r"(?s)(listening.*){3}")
            first, second = await running.connect()
            assert [await said(client) for client in (first, second) * 3] == ["good"] * 6
            assert script.asked == asked


async def test_success_in_one_worker_ends_the_cooldown_in_the_other(tmp_path: Path) -> None:
    """The trial of one worker serves both."""
    script = Sick()
    async with Upstream(script) as sick, Upstream(chat("good")) as good:
        text = sick_and_good(sick, good).replace("60000", "1500")
        async with machine(tmp_path, text) as running:
            first, second = await running.connect()
            script.well = False
            assert await said(first) == "good"
            script.well = True

            async def back_in_the_first() -> bool:
                return await said(first) == "sick"

            await until(back_in_the_first, seconds=10)
            await asyncio.sleep(0.1)
            assert await said(second) == "sick"


async def test_one_workers_health_checks_serve_both(tmp_path: Path) -> None:
    """Its verdicts hold for the other, and when it dies the other goes on with the checks."""
    script = Sick()
    async with Upstream(script) as sick, Upstream(chat("good")) as good:
        # A wrong guess would show: the good one must answer probes too.
        text = sick_and_good(sick, good, health_checks=[CHECK]).replace("60000", "0")
        async with machine(tmp_path, text) as running:
            for well, answer in ((True, "sick"), (False, "good"), (True, "sick")):
                script.well = well
                for client in await running.connect():

                    async def agreed(client: Client = client, answer: str = answer) -> bool:
                        return await said(client) == answer

                    await until(agreed)
            before = script.probed
            await asyncio.sleep(1.0)
            assert 3 <= script.probed - before <= 13, "one worker checks, once in 100 ms"

            os.kill(workers_of(running.process.pid)[0], signal.SIGKILL)
            await running.process.until_printed(r"(?s)(listening.*){3}")
            script.well = False
            for client in await running.connect():
                await until(lambda client=client: is_good(client))  # type: ignore[misc]


async def is_good(client: Client) -> bool:
    return await said(client) == "good"


async def test_lost_supervisor_leaves_workers_that_serve(tmp_path: Path) -> None:
    """Each tells once that it is on its own now, and goes on."""
    async with Upstream(chat("good")) as good:
        async with machine(tmp_path, llm_conf(endpoint(good))) as running:
            first, second = await running.connect()
            workers = workers_of(running.process.pid)
            os.kill(running.process.pid, signal.SIGKILL)
            await running.process.until_printed(r"(?s)(supervisor is gone.*){2}")
            assert [await said(first), await said(second)] == ["good", "good"]
            assert running.process.printed.count("supervisor is gone") == 2
            for worker in workers:
                os.kill(worker, signal.SIGTERM)


async def test_stream_in_another_worker_does_not_notice_a_death(tmp_path: Path) -> None:
    """A worker dies in the middle of a stream of the other: every event of that arrives."""
    go = asyncio.Event()
    events = bodies.chat_events("x")
    async with Upstream(actions.stream([events[0], go, *events[1:]])) as upstream:
        async with machine(tmp_path, llm_conf(endpoint(upstream))) as running:
            await running.connect()
            (victim, _), (_, client) = running.clients.items()
            await client.send(request("POST", "/v1/chat/completions", body=chat_body(stream=True)))
            await client.read_until(b"x0")
            os.kill(victim, signal.SIGKILL)
            await running.process.until_printed(r"(?s)(listening.*){3}")
            go.set()
            assert b"[DONE]" in await client.read_until(b"[DONE]")
