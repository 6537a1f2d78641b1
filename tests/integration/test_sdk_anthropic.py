"""The Anthropic SDK sees through the gateway what it would see without it, failures included."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anthropic
import orjson
import pytest
import pytest_asyncio

from tests.conftest import StartGateway
from tests.fakes import bodies
from tests.fakes.actions import JSON, respond, stream
from tests.fakes.conf import endpoint, llm_conf
from tests.fakes.upstream import Action, Upstream

HELLO = [{"role": "user", "content": "hi"}]
ARGUMENTS = {"model": "m", "max_tokens": 10, "messages": HELLO}


def failure(status: int, kind: str) -> Action:
    """An error in Anthropic's shape."""
    document = {"type": "error", "error": {"type": kind, "message": "bad"}}
    return respond(status, [JSON], orjson.dumps(document))


@pytest_asyncio.fixture
async def connect(gateway: StartGateway) -> AsyncIterator[object]:
    """``await connect(upstream)`` makes a client that talks to the endpoint through a gateway."""
    opened: list[anthropic.AsyncAnthropic] = []

    async def make(upstream: Upstream, **llm_meta: object) -> anthropic.AsyncAnthropic:
        running = await gateway(llm_conf(endpoint(upstream, **llm_meta)))
        client = anthropic.AsyncAnthropic(base_url=running.url, api_key="mine", max_retries=0, timeout=10)
        opened.append(client)
        return client

    yield make
    for client in opened:
        await client.close()


async def test_message(connect) -> None:  # type: ignore[no-untyped-def]
    """A message, whole; the client's own key goes on unless the endpoint has one."""
    async with Upstream([respond(200, [JSON], orjson.dumps(bodies.message("hello")))]) as upstream:
        client = await connect(upstream)
        answer = await client.messages.create(**ARGUMENTS)
        assert answer.content[0].text == "hello"
        assert b"mine" in upstream.request.head  # which header carries it depends on the SDK's version
        assert upstream.request.header("anthropic-version") is not None


async def test_endpoint_key_goes_where_anthropic_wants_it(connect) -> None:  # type: ignore[no-untyped-def]
    """The provider's header carries the endpoint's key, and the client's is gone."""
    async with Upstream([respond(200, [JSON], orjson.dumps(bodies.message("hello")))]) as upstream:
        client = await connect(upstream, provider="anthropic", api_key="theirs")
        await client.messages.create(**ARGUMENTS)
        assert upstream.request.header("x-api-key") == b"theirs"
        assert b"mine" not in upstream.request.head


async def test_stream(connect) -> None:  # type: ignore[no-untyped-def]
    """All pieces and the final message."""
    async with Upstream([stream(bodies.message_events("w", 4))]) as upstream:
        client = await connect(upstream)
        async with client.messages.stream(**ARGUMENTS) as events:
            words = [text async for text in events.text_stream]
            final = await events.get_final_message()
        assert words == ["w0 ", "w1 ", "w2 ", "w3 "]
        assert final.stop_reason == "end_turn"


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (400, "invalid_request_error", anthropic.BadRequestError),
        (401, "authentication_error", anthropic.AuthenticationError),
        (429, "rate_limit_error", anthropic.RateLimitError),
        (529, "overloaded_error", anthropic.InternalServerError),
    ],
)
async def test_failures_are_the_endpoints_own(connect, status: int, kind: str, expected: type[Exception]) -> None:  # type: ignore[no-untyped-def]
    """The exception is the one that the endpoint's answer stands for."""
    async with Upstream([failure(status, kind)]) as upstream:
        client = await connect(upstream)
        with pytest.raises(expected, match="bad"):
            await client.messages.create(**ARGUMENTS)


async def collect(client: anthropic.AsyncAnthropic, words: list[str]) -> None:
    """Append each piece of text, as long as they come."""
    async with client.messages.stream(**ARGUMENTS) as events:  # type: ignore[arg-type]
        async for text in events.text_stream:
            words.append(text)  # noqa: PERF401 - what came before a failure is kept


@pytest.mark.parametrize("then", ["end", "close", "reset"])
async def test_broken_stream_raises(connect, then: str) -> None:  # type: ignore[no-untyped-def]
    """A message that stops half way raises, however the endpoint stopped."""
    async with Upstream([stream(bodies.message_events("w")[:4], then=then)]) as upstream:
        client = await connect(upstream)
        words: list[str] = []
        with pytest.raises(anthropic.APIError):
            await collect(client, words)
        assert words == ["w0 ", "w1 "]
