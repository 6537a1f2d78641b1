"""The official SDKs, twice: what the first request wrote, the second one reads, and `usage` says so in each API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
import pytest_asyncio

from tests.conftest import StartGateway
from tests.fakes.conf import Block, conf, endpoint, http_filter, llm_conf
from tests.fakes.gateway import RunningGateway

MODEL = "stub-model"
#: 400 bytes: 100 tokens by the estimate, and by the mock's own count.
PROMPT = "be good " * 50
MARK = {"type": "ephemeral", "ttl": "1h"}
SYSTEM = [{"type": "text", "text": PROMPT, "cache_control": MARK}]
HELLO = {"role": "user", "content": "hello"}


def prompt_cache(folder: Path, **config: Any) -> Block:
    """The filter, on an index of its own."""
    return http_filter(
        "dgp.filter.llm.promptcache",
        index={"type": "sqlite", "path": str(folder / "promptcache.db")},
        principals=[{"key": "sk-alice", "principal": "alice"}, {"key": "sk-bob", "principal": "bob"}],
        tariffs=[{"model": MODEL, "min_prefix_tokens": 50}],
        **config,
    )


class Sdks:
    """A gateway before a mock model, and SDK clients for it."""

    def __init__(self, running: RunningGateway) -> None:
        self.running = running
        self._opened: list[openai.AsyncOpenAI | anthropic.AsyncAnthropic] = []

    def openai(self, key: str = "sk-alice") -> openai.AsyncOpenAI:
        client = openai.AsyncOpenAI(base_url=f"{self.running.url}/v1", api_key=key, max_retries=0, timeout=10)
        self._opened.append(client)
        return client

    def anthropic(self, key: str = "sk-alice") -> anthropic.AsyncAnthropic:
        client = anthropic.AsyncAnthropic(base_url=self.running.url, api_key=key, max_retries=0, timeout=10)
        self._opened.append(client)
        return client

    async def close(self) -> None:
        for client in self._opened:
            await client.close()


@pytest_asyncio.fixture
async def sdks(gateway: StartGateway, tmp_path: Path) -> AsyncIterator[Sdks]:
    mock = await gateway(conf(filters=[http_filter("dgp.filter.llm.mock", models=[MODEL])]))
    running = await gateway(llm_conf(endpoint(mock.port, "stub"), filters=[prompt_cache(tmp_path)]))
    made = Sdks(running)
    yield made
    await made.close()


def split(usage: Any) -> tuple[int, int]:
    """Read and written."""
    return usage.cache_read_input_tokens, usage.cache_creation_input_tokens


CHAT: Any = {"model": MODEL, "messages": [{"role": "system", "content": SYSTEM}, HELLO]}
MESSAGE: Any = {"model": MODEL, "max_tokens": 4, "system": SYSTEM, "messages": [HELLO]}


async def test_chat_completions(sdks: Sdks) -> None:
    client = sdks.openai()
    answers = [await client.chat.completions.create(**CHAT) for _ in range(2)]
    assert [split(answer.usage) for answer in answers] == [(0, 100), (100, 0)]
    for answer, cached in zip(answers, (0, 100), strict=True):
        assert answer.usage is not None
        assert answer.usage.prompt_tokens_details is not None
        assert answer.usage.prompt_tokens_details.cached_tokens == cached
        assert answer.usage.prompt_tokens >= 100


async def test_chat_completions_streamed(sdks: Sdks) -> None:
    client = sdks.openai()
    usages = []
    for _ in range(2):
        stream = await client.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True})
        usages.append([chunk.usage async for chunk in stream if chunk.usage is not None])
    assert [[split(usage) for usage in found] for found in usages] == [[(0, 100)], [(100, 0)]]


async def test_a_stream_that_did_not_ask_sees_no_usage_and_counts_all_the_same(sdks: Sdks) -> None:
    client = sdks.openai()
    stream = await client.chat.completions.create(**CHAT, stream=True)
    chunks = [chunk async for chunk in stream]
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    assert split((await client.chat.completions.create(**CHAT)).usage) == (100, 0)


async def test_anthropic_messages(sdks: Sdks) -> None:
    client = sdks.anthropic()
    answers = [await client.messages.create(**MESSAGE) for _ in range(2)]
    assert [split(answer.usage) for answer in answers] == [(0, 100), (100, 0)]
    assert [answer.usage.input_tokens for answer in answers] == [2, 2], "what is neither"
    assert answers[0].usage.cache_creation is not None
    assert answers[0].usage.cache_creation.ephemeral_1h_input_tokens == 100


async def test_anthropic_messages_streamed(sdks: Sdks) -> None:
    client = sdks.anthropic()
    usages = []
    for _ in range(2):
        async with client.messages.stream(**MESSAGE) as stream:
            usages.append((await stream.get_final_message()).usage)
    assert [split(usage) for usage in usages] == [(0, 100), (100, 0)]
    assert [(usage.input_tokens, usage.output_tokens) for usage in usages] == [(2, 4), (2, 4)]


async def test_responses(sdks: Sdks) -> None:
    client = sdks.openai()
    part: Any = {"type": "input_text", "text": PROMPT, "cache_control": MARK}
    found = []
    for _ in range(2):
        answer = await client.responses.create(model=MODEL, input=[{"role": "user", "content": [part]}])
        assert answer.usage is not None
        found.append(answer.usage.input_tokens_details)
    assert [(details.cached_tokens, details.model_dump()["cache_write_tokens"]) for details in found] == [
        (0, 100),
        (100, 0),
    ]


async def test_responses_streamed(sdks: Sdks) -> None:
    client = sdks.openai()
    part: Any = {"type": "input_text", "text": PROMPT, "cache_control": MARK}
    found = []
    for _ in range(2):
        async with client.responses.stream(model=MODEL, input=[{"role": "user", "content": [part]}]) as stream:
            usage = (await stream.get_final_response()).usage
            assert usage is not None
            found.append(usage.input_tokens_details.cached_tokens)
    assert found == [0, 100]


async def test_a_conversation_that_grows_reads_what_it_was(sdks: Sdks) -> None:
    """With one automatic marker at the top, as agents do."""
    client = sdks.openai()
    messages: list[Any] = [{"role": "user", "content": PROMPT}]
    found = []
    for _ in range(3):
        answer = await client.chat.completions.create(
            model=MODEL, messages=messages, extra_body={"cache_control": {"type": "ephemeral"}}
        )
        found.append(split(answer.usage))
        messages.append({"role": "assistant", "content": answer.choices[0].message.content})
        messages.append({"role": "user", "content": "go on please"})
    assert found[0] == (0, 100)
    assert found[1][0] == 100
    assert found[2][0] == sum(found[1])


async def test_owners_share_nothing(sdks: Sdks) -> None:
    assert split((await sdks.openai().chat.completions.create(**CHAT)).usage) == (0, 100)
    assert split((await sdks.openai("sk-bob").chat.completions.create(**CHAT)).usage) == (0, 100)


async def test_an_unknown_key_sees_what_the_model_says(sdks: Sdks) -> None:
    usage = (await sdks.openai("sk-other").chat.completions.create(**CHAT)).usage
    assert usage is not None
    assert "cache_read_input_tokens" not in usage.model_dump()


@pytest.mark.parametrize("ttl", ["24h", "2h"])
async def test_both_sdks_understand_a_refusal(sdks: Sdks, ttl: str) -> None:
    bad = [{"type": "text", "text": PROMPT, "cache_control": {"type": "ephemeral", "ttl": ttl}}]
    with pytest.raises(openai.BadRequestError) as refused:
        await sdks.openai().chat.completions.create(model=MODEL, messages=[{"role": "system", "content": bad}])  # type: ignore[list-item]
    assert (refused.value.code, refused.value.param) == ("invalid_cache_control", "cache_control")
    with pytest.raises(anthropic.BadRequestError, match="5m, 1h"):
        await sdks.anthropic().messages.create(**{**MESSAGE, "system": bad})


async def test_what_was_written_survives_a_restart(gateway: StartGateway, tmp_path: Path) -> None:
    """The index is a file; the second gateway finds in it what the first one wrote."""
    mock = await gateway(conf(filters=[http_filter("dgp.filter.llm.mock", models=[MODEL])]))
    found = []
    for _ in range(2):
        running = await gateway(llm_conf(endpoint(mock.port, "stub"), filters=[prompt_cache(tmp_path)]))
        made = Sdks(running)
        found.append(split((await made.openai().chat.completions.create(**CHAT)).usage))
        await made.close()
        await running.stop()
    assert found == [(0, 100), (100, 0)]
