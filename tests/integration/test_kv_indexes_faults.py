"""Routing by what engines and cache controllers say, in a whole gateway: it helps when they are well, and never hurts."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from tests.conftest import StartGateway
from tests.fakes.client import Client, Reply
from tests.fakes.conf import Block, endpoint, http_filter, llm_conf
from tests.fakes.gateway import RunningGateway
from tests.fakes.kv_publisher import Publisher, message, stored
from tests.fakes.lmcache import FakeController, FakeVllm, tokens_of, words
from tests.fakes.services import free_port
from tests.fakes.upstream import refusing_port

CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": words("a", 600)}]}


def conf(engines: list[FakeVllm], **kvcache: Any) -> str:
    """A gateway over these engines."""
    keys: Block = {"enabled": True, "route_header": "always", "load": {"interval": "0"}, **kvcache}
    return llm_conf(
        *(endpoint(engine, engine.instance, fallback=True) for engine in engines),
        filters=[http_filter("dgp.filter.ai.kvcache", **keys)],
        top={"metric": {"enable": True, "prometheus_port": 0}},
    )


async def ask(running: RunningGateway, document: dict[str, Any] | None = None) -> Reply:
    """One chat."""
    body = orjson.dumps(document or CHAT)
    return await running.request("POST", "/v1/chat/completions", {"Content-Type": "application/json"}, body)


def result(reply: Reply) -> str:
    """How the lookup went."""
    route = (reply.header("x-pixiu-route") or b"").decode()
    return route.partition("result=")[2].partition(";")[0]


async def metrics(running: RunningGateway) -> dict[str, float]:
    """Every sample by its name and labels."""
    async with Client(running.ports["metrics"]) as client:
        text = (await client.request("GET", "/metrics")).body.decode()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def test_pixius_configuration_routes(gateway: StartGateway) -> None:
    """Pixiu's keys alone: the index is LMCache's, and a prompt goes to who computed it, the first time it is seen here."""
    async with FakeController("b", "a") as controller, FakeVllm("a", controller) as a, FakeVllm("b", controller) as b:
        running = await gateway(
            conf(
                [a, b],
                vllm_endpoint=f"http://{a.address}",
                lmcache_endpoint=f"http://{controller.address}",
                lookup_routing_timeout="5s",
                token_cache={"enabled": True, "max_size": 1024, "ttl": "10m"},
            )
        )
        controller.store("b", tokens_of(CHAT))
        replies = [await ask(running) for _ in range(4)]
        assert [(reply.status, result(reply)) for reply in replies] == [(200, "hit")] * 4
        assert (len(a.chats), len(b.chats)) == (0, 4)
        seen = await metrics(running)
    assert seen['pixiu_py_kvcache_token_cache_total{result="hit"}'] == 3
    assert seen['pixiu_py_kvcache_calls_total{call="lookup",result="ok"}'] == 4
    assert seen['pixiu_py_kvcache_breaker_state{call="lookup"}'] == 0


@pytest.mark.parametrize("fault", ["down", "stall", "garbage", "error"])
async def test_whatever_happens_to_the_controller(gateway: StartGateway, fault: str) -> None:
    """Down, silent, talking nonsense: every request is answered, and the breaker keeps it from being asked for ever."""
    async with FakeController("b", "a") as controller, FakeVllm("a") as a, FakeVllm("b") as b:
        controller.mode = fault
        with refusing_port() as nobody:
            where = f"127.0.0.1:{nobody}" if fault == "down" else controller.address
            running = await gateway(
                conf(
                    [a, b],
                    lmcache_endpoint=f"http://{where}",
                    lookup_routing_timeout="20ms",
                    request_timeout="50ms",
                    retry={"max_attempts": 1},
                    token_cache={"enabled": True},
                )
            )
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(ask(running), name="ask") for _ in range(20)]
            replies = [task.result() for task in tasks] + [await ask(running) for _ in range(20)]
        assert [reply.status for reply in replies] == [200] * 40
        assert "hit" not in {result(reply) for reply in replies}
        assert result(replies[-1]) in ("breaker", "slow", "timeout", "connect")
        assert len(a.chats) + len(b.chats) == 40


@pytest.mark.parametrize("index", ["lmcache", "lmcache-coordinator", "kv-events"])
@pytest.mark.parametrize("tokenizer", ["stall", "empty"])
async def test_whatever_happens_to_the_tokenizer(gateway: StartGateway, index: str, tokenizer: str) -> None:
    """Silent or useless: every request is answered."""
    async with FakeController("b", "a") as controller, FakeVllm("a") as a, FakeVllm("b") as b:
        a.tokenizer = b.tokenizer = tokenizer
        keys: Block = {"type": index}
        if index == "kv-events":
            keys["bind"] = f"tcp://127.0.0.1:{free_port()}"
        running = await gateway(
            conf(
                [a, b],
                index=keys,
                lmcache_endpoint=f"http://{controller.address}",
                lookup_routing_timeout="20ms",
                request_timeout="50ms",
                retry={"max_attempts": 1},
            )
        )
        if index != "kv-events":
            assert [(await ask(running)).status for _ in range(10)] == [200] * 10
            return
        async with Publisher(keys["bind"]) as publisher:
            await publisher.publish(0, message(1.0, stored([1, 2], tokens_of(CHAT)[:32])))
            assert [(await ask(running)).status for _ in range(10)] == [200] * 10


async def test_kv_events_route(gateway: StartGateway) -> None:
    """An engine tells what it has stored; the next prompt that begins so goes there, wherever it came from."""
    async with FakeVllm("a") as a, FakeVllm("b") as b:
        address = f"tcp://127.0.0.1:{free_port()}"
        running = await gateway(conf([a, b], index={"type": "kv-events", "bind": address}, lookup_routing_timeout="5s"))
        tokens = tokens_of(CHAT)
        async with Publisher(address, "kv@b@tiny") as publisher:
            await publisher.publish(0, message(1.0, stored(list(range(20)), tokens[: 20 * 16])))
            async with asyncio.timeout(5):
                while (await metrics(running)).get('pixiu_py_kvcache_index_size{index="kv-events"}') != 20:
                    await asyncio.sleep(0.01)
            longer = {**CHAT, "messages": [*CHAT["messages"], {"role": "user", "content": "and now?"}]}
            for document in (CHAT, longer, CHAT):
                reply = await ask(running, document)
                assert (reply.status, result(reply)) == (200, "hit")
                assert b"b(matched=320" in (reply.header("x-pixiu-route") or b"")
        assert (len(a.chats), len(b.chats)) == (0, 3)


async def test_a_client_that_leaves_while_the_controller_is_asked(gateway: StartGateway) -> None:
    """Nothing is sent to an engine for it, and nothing is left behind."""
    async with FakeController("b", "a") as controller, FakeVllm("a") as a, FakeVllm("b") as b:
        controller.mode = "stall"
        running = await gateway(
            conf(
                [a, b],
                lmcache_endpoint=f"http://{controller.address}",
                lookup_routing_timeout="60s",
                request_timeout="100ms",
                retry={"max_attempts": 1},
            )
        )
        body = orjson.dumps(CHAT)
        async with running.client() as client:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
            await client.send(head.encode() + body)
            await controller.until_requests(1)
        await running.wait_log()
        assert a.chats + b.chats == []


async def test_what_is_hot_is_pinned_behind_the_answers(gateway: StartGateway) -> None:
    """Pixiu's strategy keys; the pin names the instance that the lookup found."""
    async with FakeController("b", "a") as controller, FakeVllm("a", controller) as a, FakeVllm("b", controller) as b:
        running = await gateway(
            conf(
                [a, b],
                lmcache_endpoint=f"http://{controller.address}",
                lookup_routing_timeout="5s",
                cache_strategy={"enable_pinning": True, "hot_content_threshold": 2},
            )
        )
        for _ in range(3):
            assert (await ask(running)).status == 200
        await controller.until(lambda _: bool(controller.asked("/pin")))
        (pin,) = controller.asked("/pin")
        assert pin["tokens"] == tokens_of(CHAT)
        assert len((a if pin["instance_id"] == "a" else b).chats) >= 1
