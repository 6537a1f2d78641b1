"""The OpenAI SDK sees through the gateway what it would see without it, failures included."""

from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest
import pytest_asyncio
from openai.types.chat import ChatCompletionChunk

from tests.conftest import StartGateway
from tests.fakes import bodies
from tests.fakes.bodies import chat, error, rate_limited
from tests.fakes.conf import endpoint, llm_conf
from tests.fakes.gateway import RunningGateway
from tests.fakes.upstream import Script, Upstream, refusing_port

HELLO = [{"role": "user", "content": "hi"}]


class Sdk:
    """An SDK client and the gateway it talks to."""

    def __init__(self, gateway: StartGateway) -> None:
        self._gateway = gateway
        self._opened: list[openai.AsyncOpenAI] = []

    async def client(self, *endpoints: dict[str, object], retries: int = 0) -> openai.AsyncOpenAI:
        """A client for a gateway before these endpoints."""
        running: RunningGateway = await self._gateway(llm_conf(*endpoints))
        client = openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="mine", max_retries=retries, timeout=10)
        self._opened.append(client)
        return client

    async def close(self) -> None:
        """Close all clients."""
        for client in self._opened:
            await client.close()


@pytest_asyncio.fixture
async def sdk(gateway: StartGateway) -> AsyncIterator[Sdk]:
    """Makes clients, and closes them."""
    made = Sdk(gateway)
    yield made
    await made.close()


async def test_completion(sdk: Sdk) -> None:
    """An answer, whole, with its usage."""
    async with Upstream([chat("hello")]) as upstream:
        client = await sdk.client(endpoint(upstream))
        answer = await client.chat.completions.create(model="m", messages=HELLO)  # type: ignore[arg-type]
        assert answer.choices[0].message.content == "hello"
        assert answer.usage is not None
        assert answer.usage.total_tokens == 5


async def test_stream(sdk: Sdk) -> None:
    """All pieces, in order, and a regular end."""
    async with Upstream([bodies.chat_sse("w", words=5)]) as upstream:
        client = await sdk.client(endpoint(upstream))
        stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True)  # type: ignore[call-overload]
        words = [chunk.choices[0].delta.content async for chunk in stream]
        assert words == ["w0 ", "w1 ", "w2 ", "w3 ", "w4 ", None]


FAILURES = [
    (error(400, message="bad"), openai.BadRequestError),
    (error(401, message="bad"), openai.AuthenticationError),
    (error(404, message="bad"), openai.NotFoundError),
    (error(422, message="bad"), openai.UnprocessableEntityError),
    (error(500, message="bad"), openai.InternalServerError),
]


@pytest.mark.parametrize(("script", "expected"), FAILURES)
async def test_failures_are_the_endpoints_own(sdk: Sdk, script: Script, expected: type[openai.APIStatusError]) -> None:
    """The exception, its message and its code are what the endpoint said."""
    async with Upstream(script) as upstream:
        client = await sdk.client(endpoint(upstream))
        with pytest.raises(expected, match="bad") as caught:
            await client.chat.completions.create(model="m", messages=HELLO)  # type: ignore[arg-type]
        assert caught.value.body is not None


async def test_rate_limit_keeps_its_retry_after(sdk: Sdk) -> None:
    """The SDK is told when to come back."""
    async with Upstream([rate_limited("42")]) as upstream:
        client = await sdk.client(endpoint(upstream))
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(model="m", messages=HELLO)  # type: ignore[arg-type]
        assert caught.value.response.headers["retry-after"] == "42"


async def test_unreachable_endpoint_is_a_server_error(sdk: Sdk) -> None:
    """And no connection error of the client's own, which it would blame on its network."""
    with refusing_port() as port:
        client = await sdk.client(endpoint(port))
        with pytest.raises(openai.InternalServerError) as caught:
            await client.chat.completions.create(model="m", messages=HELLO)  # type: ignore[arg-type]
        assert caught.value.status_code == 502


async def collect(stream: openai.AsyncStream[ChatCompletionChunk], words: list[str]) -> None:
    """Append the content of each chunk, as long as they come."""
    async for chunk in stream:
        words.append(chunk.choices[0].delta.content or "")  # noqa: PERF401 - what came before a failure is kept


@pytest.mark.parametrize("script", [[bodies.cut_sse("w")], [bodies.unfinished_sse("w")]], ids=["cut", "unfinished"])
async def test_broken_stream_raises(sdk: Sdk, script: Script) -> None:
    """A part of an answer is never taken for the whole: the SDK raises after the last piece that came."""
    async with Upstream(script) as upstream:
        client = await sdk.client(endpoint(upstream))
        stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True)  # type: ignore[call-overload]
        words: list[str] = []
        with pytest.raises(openai.APIError):
            await collect(stream, words)
        assert words == ["w0 ", "w1 "]


async def test_client_does_not_repeat_what_the_gateway_has_tried(sdk: Sdk) -> None:
    """After retries of ours the SDK's own would multiply them."""
    async with Upstream(error(500)) as upstream:
        client = await sdk.client(endpoint(upstream, retry=2), retries=2)
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(model="m", messages=HELLO)  # type: ignore[arg-type]
        assert len(upstream.requests) == 3


async def test_closed_stream_cancels_upstream(sdk: Sdk) -> None:
    """Leaving the loop early and closing the stream ends the endpoint's work."""
    from tests.fakes.actions import stream as sse

    async with Upstream([sse(bodies.chat_events("w")[:1], then="hold")]) as upstream:
        client = await sdk.client(endpoint(upstream))
        stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True)  # type: ignore[call-overload]
        async for _ in stream:
            break
        await stream.close()
        await upstream.until(lambda up: up.client_gone.is_set())
