"""Endpoints at rest: who is left alone, for how long, and that nobody is left alone for ever."""

from __future__ import annotations

import asyncio

from tests.conftest import StartGateway
from tests.fakes.bodies import chat, error, rate_limited
from tests.fakes.conf import endpoint, llm_conf
from tests.fakes.upstream import Action, Upstream, refusing_port

LONG = 60_000
SHORT = 300


async def test_failed_endpoint_is_left_alone(gateway: StartGateway) -> None:
    """After one failure the others serve, however the balancer turns."""
    async with Upstream([error(500)]) as bad, Upstream(chat("b")) as good:
        running = await gateway(llm_conf(endpoint(bad, fallback=True, health_check_interval=LONG), endpoint(good)))
        for _ in range(6):
            assert (await running.chat()).status == 200


async def test_unreachable_endpoint_is_left_alone(gateway: StartGateway) -> None:
    """A dead host cools down like a sick one."""
    with refusing_port() as port:
        async with Upstream(chat("b")) as good:
            running = await gateway(llm_conf(endpoint(port, fallback=True, health_check_interval=LONG), endpoint(good)))
            for _ in range(4):
                await running.chat()
            logs = await running.wait_log(4)
            assert sum(len(line["attempts"]) for line in logs) == 5


async def test_endpoint_comes_back_after_its_cooldown(gateway: StartGateway) -> None:
    """When the interval is over it gets its share again, and a success clears the slate."""
    async with Upstream([error(500), *[chat("a")] * 3]) as recovering, Upstream(chat("b")) as good:
        one = endpoint(recovering, fallback=True, health_check_interval=SHORT)
        running = await gateway(llm_conf(one, endpoint(good)))
        await running.chat()
        await asyncio.sleep(SHORT / 1000 * 1.2)
        for _ in range(6):
            assert (await running.chat()).status == 200
        assert len(recovering.requests) == 4


async def test_one_trial_at_a_time(gateway: StartGateway) -> None:
    """After the cooldown a single request tries the endpoint; the others stay away until it has ended."""
    release = asyncio.Event()
    answers: list[Action] = [error(500)]

    async def script(seen: object) -> Action:
        if answers:
            return answers.pop()
        await release.wait()
        return chat("a")

    async with Upstream(script) as recovering, Upstream(chat("b")) as good:
        one = endpoint(recovering, fallback=True, health_check_interval=SHORT)
        running = await gateway(llm_conf(one, endpoint(good)))
        await running.chat()
        await asyncio.sleep(SHORT / 1000 * 1.2)
        trial = asyncio.gather(*(running.chat() for _ in range(4)))
        await recovering.until_requests(2)
        await good.until_requests(1 + 3)
        assert len(recovering.requests) == 2
        release.set()
        assert [reply.status for reply in await trial] == [200] * 4


async def test_failures_below_the_threshold_do_not_count(gateway: StartGateway) -> None:
    """``failure_threshold`` consecutive failures start a cooldown; a success in between starts the count anew."""
    script = [error(500), chat("a"), error(500), error(500)]
    async with Upstream(script) as shaky:
        one = endpoint(shaky, health_check_interval=LONG, failure_threshold=2, fallback=True)
        async with Upstream(chat("b")) as good:
            running = await gateway(llm_conf(one, endpoint(good)))
            for _ in range(10):
                assert (await running.chat()).status == 200
        assert len(shaky.requests) == 4


async def test_no_interval_no_cooldown(gateway: StartGateway) -> None:
    """``health_check_interval: 0``, the default, never leaves an endpoint out."""
    async with Upstream([error(500), error(500)]) as bad, Upstream(chat("b")) as good:
        running = await gateway(llm_conf(endpoint(bad, fallback=True), endpoint(good)))
        for _ in range(4):
            await running.chat()
        assert len(bad.requests) == 2


async def test_last_endpoint_is_never_taken_away(gateway: StartGateway) -> None:
    """When all cool down, the one that will be ready first is tried rather than answering 503 untried."""
    async with Upstream([error(500), error(500), chat("ok")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, health_check_interval=LONG)))
        assert [(await running.chat()).status for _ in range(3)] == [500, 500, 200]


async def test_rate_limit_is_a_rest_and_no_failure(gateway: StartGateway) -> None:
    """A 429 keeps others away for its Retry-After, counts towards no threshold and needs no trial."""
    async with Upstream([rate_limited("1"), chat("a"), chat("a")]) as limited, Upstream(chat("b")) as good:
        one = endpoint(limited, fallback=True, health_check_interval=LONG)
        running = await gateway(llm_conf(one, endpoint(good)))
        for _ in range(4):
            assert (await running.chat()).status == 200
        assert len(limited.requests) == 1
        await asyncio.sleep(1.05)
        for _ in range(4):
            assert (await running.chat()).status == 200
        assert len(limited.requests) == 3


async def test_cooldown_of_a_rejected_key(gateway: StartGateway) -> None:
    """An endpoint whose key is refused is left alone too."""
    async with Upstream([error(401)]) as bad, Upstream(chat("b")) as good:
        keyed = endpoint(bad, fallback=True, health_check_interval=LONG, api_key="refused")
        running = await gateway(llm_conf(keyed, endpoint(good)))
        for _ in range(4):
            assert (await running.chat()).status == 200


async def test_client_that_leaves_is_not_the_endpoints_failure(gateway: StartGateway) -> None:
    """A cancelled request starts no cooldown."""
    never = asyncio.Event()

    async def script(seen: object) -> Action:
        if len(upstream.requests) == 1:
            await never.wait()
        return chat("a")

    async with Upstream(script) as upstream, Upstream(chat("b")) as other:
        running = await gateway(
            llm_conf(endpoint(upstream, health_check_interval=LONG, fallback=True), endpoint(other))
        )
        async with running.client() as client:
            await client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}")
            await upstream.until_requests(1)
        await running.wait_log()
        for _ in range(4):
            await running.chat()
        assert len(upstream.requests) == 3
