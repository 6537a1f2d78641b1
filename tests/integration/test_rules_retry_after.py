"""Rule: Retry-After is law, the latest one, for as long as it lasts and no longer."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from tests.conftest import StartGateway
from tests.fakes.bodies import chat, error, rate_limited
from tests.fakes.conf import endpoint, llm_conf
from tests.fakes.upstream import Action, Request, Upstream


async def test_each_pause_is_what_the_attempt_before_it_asked_for(gateway: StartGateway) -> None:
    """A Retry-After of the first answer says nothing about the pause after the second."""
    times: list[float] = []
    answers = [rate_limited("0.6"), error(500), rate_limited("0.1"), chat("ok")]

    def script(seen: Request) -> Action:
        times.append(asyncio.get_running_loop().time())
        return answers[len(times) - 1]

    async with Upstream(script) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, retry=3)))
        assert (await running.chat()).status == 200
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses[0] >= 0.59
    assert pauses[1] < 0.5
    assert 0.09 <= pauses[2] < 0.5


async def test_the_client_is_told_what_the_last_answer_said(gateway: StartGateway) -> None:
    """Under its own name and with its own value; an earlier one is not mixed in."""
    async with Upstream([rate_limited("0.1"), rate_limited("40")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream, retry=1)))
        reply = await running.chat()
    assert (reply.status, reply.header("retry-after")) == (429, b"40")


async def test_an_endpoint_that_asked_for_a_rest_is_not_asked_before_its_end(gateway: StartGateway) -> None:
    """By no client, while another endpoint answers."""
    async with Upstream(rate_limited("60")) as limited, Upstream(chat("b")) as other:
        running = await gateway(llm_conf(endpoint(limited, fallback=True), endpoint(other, fallback=True)))
        await asyncio.gather(*(running.chat() for _ in range(8)))
        early = len(limited.requests)
        assert early <= 4  # those that were on their way together with the first
        for _ in range(4):
            assert (await running.chat()).status == 200
        assert len(limited.requests) == early
