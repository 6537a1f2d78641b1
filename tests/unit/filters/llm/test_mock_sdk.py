"""The SDKs that people use understand every answer of the mock."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anthropic
import openai
import pytest
import pytest_asyncio
from aiohttp import web

from pixiu_py.filters.llm.mock.model import complete, embed
from tests.fakes.exchange import chunks_of, make_exchange
from tests.fakes.mock_model import mock_model

Serve = Callable[..., Awaitable[str]]
HELLO: Any = [{"role": "user", "content": "Hello"}]
SAID = complete("Hello", 16).text


@pytest_asyncio.fixture
async def serve() -> AsyncIterator[Serve]:
    """``await serve(**config)`` puts a mock behind a port and returns its URL."""
    runners: list[web.ServerRunner] = []

    async def start(**config: Any) -> str:
        model = mock_model(**config)

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            exchange = make_exchange(request.method, request.raw_path, body=await request.read())
            answer = await model.decode(exchange)
            response = web.StreamResponse(status=answer.status, headers=dict(answer.headers))
            await response.prepare(request)
            for chunk in await chunks_of(answer.body):
                await response.write(chunk)
            return response

        runner = web.ServerRunner(web.Server(handle))
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest_asyncio.fixture
async def gpt(serve: Serve) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{await serve()}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest_asyncio.fixture
async def claude(serve: Serve) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=await serve(), api_key="none", max_retries=0) as client:
        yield client


async def test_openai_chat(gpt: openai.AsyncOpenAI) -> None:
    answer = await gpt.chat.completions.create(model="mock-small", messages=HELLO, n=2)
    assert answer.choices[0].message.content == SAID
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 32


async def test_openai_chat_stream(gpt: openai.AsyncOpenAI) -> None:
    async with gpt.chat.completions.stream(
        model="mock-small", messages=HELLO, stream_options={"include_usage": True}
    ) as stream:
        final = await stream.get_final_completion()
    assert (final.choices[0].message.content, final.choices[0].finish_reason) == (SAID, "stop")
    assert final.usage is not None
    assert final.usage.completion_tokens == 16


async def test_openai_completions_stream(gpt: openai.AsyncOpenAI) -> None:
    stream = await gpt.completions.create(model="mock-small", prompt="Hello", stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream]) == SAID


async def test_openai_embeddings_which_the_sdk_asks_for_in_base64(gpt: openai.AsyncOpenAI) -> None:
    answer = await gpt.embeddings.create(model="mock-small", input="Hello")
    assert answer.data[0].embedding == pytest.approx(embed("Hello", 8))


async def test_openai_models(gpt: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in gpt.models.list()] == ["mock-small", "mock-big"]


async def test_openai_responses(gpt: openai.AsyncOpenAI) -> None:
    answer = await gpt.responses.create(model="mock-small", input="Hello")
    assert (answer.output_text, answer.status) == (SAID, "completed")


async def test_openai_responses_stream(gpt: openai.AsyncOpenAI) -> None:
    async with gpt.responses.stream(model="mock-small", input="Hello") as stream:
        assert (await stream.get_final_response()).output_text == SAID


async def test_openai_errors(gpt: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="`nope` does not exist"):
        await gpt.chat.completions.create(model="nope", messages=HELLO)


async def test_anthropic_message(claude: anthropic.AsyncAnthropic) -> None:
    message = await claude.messages.create(model="mock-small", max_tokens=100, messages=HELLO)
    (block,) = message.content
    assert isinstance(block, anthropic.types.TextBlock)
    assert (block.text, message.stop_reason, message.usage.output_tokens) == (SAID, "end_turn", 16)


async def test_anthropic_stream(claude: anthropic.AsyncAnthropic) -> None:
    async with claude.messages.stream(model="mock-small", max_tokens=5, messages=HELLO) as stream:
        said = "".join([text async for text in stream.text_stream])
        final = await stream.get_final_message()
    assert SAID.startswith(said)
    assert (final.stop_reason, final.usage.input_tokens, final.usage.output_tokens) == ("max_tokens", 2, 5)


async def test_anthropic_errors(claude: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.NotFoundError, match="not_found_error"):
        await claude.messages.create(model="nope", max_tokens=1, messages=HELLO)


async def test_an_sdk_waits_as_a_failure_asks(serve: Serve) -> None:
    url = await serve(failure_rate=1, failure_status=429, failure_retry_after=7.0)
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(model="mock-small", messages=HELLO)
    assert caught.value.response.headers["retry-after"] == "7"
