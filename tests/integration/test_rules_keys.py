"""Rule: one endpoint's key never reaches another, however and in whatever order they fail."""

from __future__ import annotations

from contextlib import AsyncExitStack
from itertools import product

import pytest

from tests.conftest import StartGateway
from tests.fakes import actions, bodies
from tests.fakes.bodies import chat, error
from tests.fakes.conf import Block, conf, endpoint, http_filter, llm_conf
from tests.fakes.upstream import Action, Upstream, refusing_port

KEY = "key-of-the-first"
MINE = "Bearer client-token"
FAILURES: dict[str, Action] = {
    "reset": actions.reset(),
    "close": actions.close(),
    "500": error(500),
    "429": error(429),
    "401": error(401),
    "garbage": actions.close(b"SSH-2.0-OpenSSH\r\n"),
    "stream": bodies.error_sse(),
}


def check(*others: Upstream) -> None:
    """Those without a key have seen no key, and the client's own credential."""
    for upstream in others:
        for seen in upstream.requests:
            assert KEY.encode() not in seen.head + seen.body
            assert seen.values("authorization") == [MINE.encode()]


async def ask(gateway: StartGateway, text: str, times: int = 1) -> list[int]:
    """The answers to so many requests of a client with a credential of its own."""
    running = await gateway(text)
    return [(await running.chat(headers={"Authorization": MINE})).status for _ in range(times)]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("keyed_first", [True, False])
async def test_each_failure_on_either_side(gateway: StartGateway, failure: str, keyed_first: bool) -> None:
    """The one with the key fails first, or the one without; and the client may come again."""
    async with Upstream(FAILURES[failure]) as bad, Upstream(chat("good")) as good:
        blocks = [endpoint(bad, fallback=True, retry=1), endpoint(good, fallback=True)]
        keyed, other = (0, good) if keyed_first else (1, bad)
        blocks[keyed]["llm_meta"]["api_key"] = KEY
        assert await ask(gateway, llm_conf(*blocks), times=3) == [200] * 3
        check(other)
        for seen in (bad if keyed_first else good).requests:
            assert seen.values("authorization") == [f"Bearer {KEY}".encode()]


@pytest.mark.parametrize("keyed_first", [True, False])
async def test_refused_on_either_side(gateway: StartGateway, keyed_first: bool) -> None:
    """An endpoint that cannot be reached is a failure, too."""
    with refusing_port() as port:
        async with Upstream(chat("good")) as good:
            blocks = [endpoint(port, fallback=True), endpoint(good, fallback=True)]
            blocks[0 if keyed_first else 1]["llm_meta"]["api_key"] = KEY
            assert await ask(gateway, llm_conf(*blocks), times=2) == [200] * 2
            if keyed_first:
                check(good)


@pytest.mark.parametrize(("first", "second"), list(product(FAILURES, repeat=2)))
async def test_two_failures_in_any_order(gateway: StartGateway, first: str, second: str) -> None:
    """Without key, with key, without key: each fails once, in its own way, before the last one answers."""
    async with AsyncExitStack() as stack:
        before = await stack.enter_async_context(Upstream([FAILURES[first]]))
        keyed = await stack.enter_async_context(Upstream([FAILURES[second]]))
        after = await stack.enter_async_context(Upstream([chat("good")]))
        blocks: list[Block] = [endpoint(up, fallback=True) for up in (before, keyed, after)]
        blocks[1]["llm_meta"]["api_key"] = KEY
        assert await ask(gateway, llm_conf(*blocks)) == [200]
        check(before, after)
        assert keyed.request.values("authorization") == [f"Bearer {KEY}".encode()]


@pytest.mark.parametrize("header", ["x-api-key", "api-key", "x-custom", "Authorization"])
async def test_in_whichever_header_the_key_is_sent(gateway: StartGateway, header: str) -> None:
    """Not only Authorization is made anew for each endpoint."""
    async with Upstream(error(500)) as keyed, Upstream(chat("good")) as other:
        block = endpoint(keyed, fallback=True, api_key=KEY, auth_header=header)
        assert await ask(gateway, llm_conf(block, endpoint(other)), times=2) == [200] * 2
        check(other)
        assert all(KEY.encode() in seen.head for seen in keyed.requests)


async def test_the_plain_proxy_keeps_keys_apart_too(gateway: StartGateway) -> None:
    """It moves on when no connection can be made; each endpoint gets what is its own."""
    with refusing_port() as port:
        async with Upstream(chat("one")) as keyed, Upstream(chat("two")) as other:
            blocks = [endpoint(keyed, api_key=KEY), endpoint(port, api_key="key-of-the-dead"), endpoint(other)]
            text = conf(*blocks, filters=[http_filter("dgp.filter.http.httpproxy")])
            assert await ask(gateway, text, times=6) == [200] * 6
            check(other)
            assert {seen.header("authorization") for seen in keyed.requests} == {f"Bearer {KEY}".encode()}
            assert not [seen for seen in (*keyed.requests, *other.requests) if b"key-of-the-dead" in seen.head]
            assert other.requests
