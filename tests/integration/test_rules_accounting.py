"""Rules for what is counted: tokens are tokens, what was used is counted, and clients cannot make series of their own."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.conftest import StartGateway
from tests.fakes import actions, bodies
from tests.fakes.bodies import event
from tests.fakes.client import Client, chat_body, request
from tests.fakes.conf import Block, endpoint, http_filter, llm_conf
from tests.fakes.gateway import RunningGateway
from tests.fakes.upstream import Upstream

ON: Block = {"metric": {"enable": True, "prometheus_port": 0}}
COUNTING = [http_filter(f"dgp.filter.{kind}") for kind in ("http.metric", "http.prometheusmetric", "llm.tokenizer")]
#: Methods that the parser knows and hardly anybody uses.
UNUSUAL = ("PROPFIND", "MKCOL", "SEARCH", "PURGE", "REPORT")
STREAM = request("POST", "/v1/messages", body=chat_body(stream=True))


async def scrape(running: RunningGateway) -> dict[str, float]:
    """Every sample of the metrics port, by name and labels."""
    async with Client(running.ports["metrics"]) as client:
        page = (await client.request("GET", "/metrics")).body.decode()
    lines = [line.rpartition(" ") for line in page.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def total(seen: dict[str, float], name: str) -> float:
    """The sum over all labels."""
    return sum(value for series, value in seen.items() if series.partition("{")[0] == name)


async def test_heartbeats_are_no_tokens(gateway: StartGateway) -> None:
    """A stream of nothing but heartbeats and an error has no first token; a whole one has its tokens and no more."""
    release = asyncio.Event()
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    events: list[Any] = [event({"model": "m", "choices": [], "usage": usage}), bodies.DONE]
    script = [actions.stall(release, bodies.error(400)), actions.stall(release, actions.stream(events))]
    async with Upstream(script) as upstream:
        text = llm_conf(endpoint(upstream), filters=COUNTING, proxy={"heartbeat": "10ms"}, top=ON)
        running = await gateway(text)
        for expected, count in ((0.0, 1), (1.0, 2)):
            release.clear()
            async with running.client() as client:
                await client.send(request("POST", "/v1/chat/completions", body=chat_body(stream=True)))
                await client.read_until(b": heartbeat\n\n")
                await client.read_until(b": heartbeat\n\n")
                release.set()
                await client.read_until(b"0\r\n\r\n")
            await running.wait_log(count)
            seen = await scrape(running)
            assert total(seen, "pixiu_llm_streaming_requests_total") == expected
            assert total(seen, "pixiu_llm_total_tokens_total") == 5 * expected


async def test_what_a_client_that_left_has_used_is_counted(gateway: StartGateway) -> None:
    """The part of the usage that had been told by then."""
    start = {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 7, "output_tokens": 1}}}
    async with Upstream([actions.stream([event(start, "message_start")], then="hold")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), filters=COUNTING, top=ON))
        async with running.client() as client:
            await client.send(STREAM)
            await client.read_until(b"message_start")
        (line,) = await running.wait_log()
        seen = await scrape(running)
    assert line["end"] == "client_gone"
    assert line["usage"]["prompt_tokens"] == 7
    assert total(seen, "pixiu_llm_prompt_tokens_total") == 7


async def test_clients_cannot_make_series_of_their_own(gateway: StartGateway) -> None:
    """Whatever paths, methods, hosts and models they come up with: the labels are the configuration's."""
    routes: list[Block] = [{"match": {"path": "/v1/:user/chat", "methods": ["*"]}, "route": {"cluster": "main"}}]
    few: Block = {"config": {"max_hosts": 2}}
    filters = [{**COUNTING[0], **few}, {**COUNTING[1], **few}, COUNTING[2]]
    async with Upstream(bodies.chat("a")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), filters=filters, routes=routes, top=ON))

        async def ask(number: int) -> None:
            async with running.client() as client:
                method = "POST" if number % 2 else UNUSUAL[number % len(UNUSUAL)]
                target = f"/v1/user{number}/chat" if number % 3 else f"/nowhere/{number}"
                fields = {"Host": f"host{number}.test"}
                await client.request(method, target, fields, chat_body(model=f"model{number}"))

        for number in range(12):
            await ask(number)
        await running.wait_log(12)
        before = await scrape(running)
        for number in range(12, 60):
            await ask(number)
        await running.wait_log(60)
        after = await scrape(running)
    assert total(after, "pixiu_request_count") > total(before, "pixiu_request_count")
    assert sorted(after.keys() - before.keys()) == []
    assert 'url="/v1/:user/chat"' in "".join(after)
