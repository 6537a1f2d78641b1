"""Tokens from the engine that will compute them, in its own dialect."""

from __future__ import annotations

from array import array
from typing import Any

import orjson
import pytest

from pixiu_py.filters.llm.engine_tokens import LLAMA, VLLM, NoTokens, Tokenizer, tokenize_request, tokens_of
from pixiu_py.upstream.client import CallFailed, Client, service_at
from tests.fakes import engine_data
from tests.fakes.actions import respond
from tests.fakes.recorded_engine import RecordedEngine
from tests.fakes.upstream import Upstream

CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "Hello"}]}
CHAT_TOKENS = [1, 2072, 201, 42, 1674, 334, 2, 201, 1, 3375, 793, 821, 201]


def _prompt(document: Any) -> Any:
    return tokenize_request(document, orjson.dumps(document))


async def test_vllm_takes_a_whole_chat_body(client: Client) -> None:
    """Byte for byte what the client sent, fields that are of no concern to a tokenizer included."""
    body = engine_data.exchanges("vllm_tokenize")["whole_chat_body"]["request"]["body"]
    async with RecordedEngine("vllm_tokenize") as engine:
        tokens = await Tokenizer(client).tokens(service_at(f"http://{engine.address}"), _prompt(body), "tiny", 5.0)
        assert engine.request.body == orjson.dumps(body)
    assert tokens == array("I", CHAT_TOKENS)


async def test_vllm_is_asked_under_its_own_name(client: Client) -> None:
    """A model name that the engine does not know is a 404."""
    async with RecordedEngine("vllm_tokenize") as engine:
        prompt = _prompt({**CHAT, "model": "alias"})
        tokens = await Tokenizer(client).tokens(service_at(f"http://{engine.address}"), prompt, "tiny", 5.0)
        assert list(tokens) == CHAT_TOKENS
        with pytest.raises(CallFailed, match="404"):
            await Tokenizer(client).tokens(
                service_at(f"http://{engine.address}"), _prompt({"model": "other", "prompt": "a"}), "other", 5.0
            )


async def test_llama_server_is_found_out_once(client: Client) -> None:
    """vLLM's form gives an empty list there; from then on it is asked in its own way."""
    document = {"model": "tiny", "prompt": "Hello, world! def main():"}
    async with RecordedEngine("llama_server") as engine:
        tokenizer = Tokenizer(client)
        for _ in range(2):
            tokens = await tokenizer.tokens(service_at(f"http://{engine.address}"), _prompt(document), "tiny", 5.0)
            assert list(tokens) == [42, 1674, 334, 14, 1253, 544, 3, 337, 2947, 859]
        assert len(engine.requests) == 3


async def test_llama_server_makes_a_text_of_a_chat(client: Client) -> None:
    """Its template, then its tokenizer; with a text that was recorded for nothing else."""
    rendered = engine_data.exchanges("llama_server")["apply_template"]["response"]["body"]
    answers = [respond(body=orjson.dumps(rendered)), respond(body=b'{"tokens":[1,2]}')]
    async with Upstream(answers) as engine:
        tokens = await Tokenizer(client, LLAMA).tokens(
            service_at(f"http://{engine.address}"), _prompt(CHAT), "tiny", 5.0
        )
    assert list(tokens) == [1, 2]
    assert [request.target for request in engine.requests] == ["/apply-template", "/tokenize"]
    assert orjson.loads(engine.requests[1].body)["content"] == rendered["prompt"]


async def test_no_tokens_are_a_failure(client: Client) -> None:
    """Where the dialect is settled an empty list is not taken for an empty prompt."""
    async with RecordedEngine("llama_server") as engine:
        with pytest.raises(NoTokens):
            await Tokenizer(client, VLLM).tokens(service_at(f"http://{engine.address}"), _prompt(CHAT), "tiny", 5.0)


async def test_tokens_of_the_client_need_no_engine(client: Client) -> None:
    """A prompt may be a list of tokens."""
    tokens = await Tokenizer(client).tokens(
        service_at("http://127.0.0.1:1"), _prompt({"prompt": [3, 1, 2]}), "tiny", 5.0
    )
    assert list(tokens) == [3, 1, 2]


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"prompt": ""},
        {"prompt": ["a", "b"]},
        {"prompt": [-1]},
        {"prompt": [1, "a"]},
        {"prompt": [["a"]]},
        {"messages": []},
        {"messages": "Hello"},
    ],
)
def test_what_cannot_be_tokenized(document: Any) -> None:
    """Nothing, several prompts, and what is no prompt."""
    assert _prompt(document) is None


def test_what_is_nested_too_deeply_to_be_written_cannot_be_tokenized() -> None:
    """It could be read, so it can come; a body that goes as it is needs no writing."""
    deep = orjson.loads(b"[" * 500 + b"]" * 500)
    assert tokenize_request({**CHAT, "tools": deep, "system": "Be brief."}, b"{}") is None
    assert tokenize_request({**CHAT, "tools": deep}, b"{}") is not None


def test_a_list_of_one_prompt_is_that_prompt() -> None:
    """vLLM's tokenizer refuses lists."""
    prompt = _prompt({"model": "m", "prompt": ["Hello"], "n": 2})
    assert orjson.loads(prompt.for_vllm("tiny")) == {"model": "tiny", "prompt": "Hello"}


def test_the_system_of_the_messages_api_is_a_message() -> None:
    """Anthropic's form has it beside the messages."""
    document = {**CHAT, "system": [{"type": "text", "text": "Be brief."}], "max_tokens": 3}
    sent = orjson.loads(_prompt(document).for_vllm("tiny"))
    assert sent["messages"][0] == {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}
    assert sent["messages"][1:] == CHAT["messages"]


@pytest.mark.parametrize("answer", [None, {}, {"tokens": 3}, {"tokens": ["a"]}, {"tokens": [-1]}, {"tokens": [2**40]}])
def test_garbage_is_a_failure(answer: Any) -> None:
    """Whatever a tokenizer answers."""
    with pytest.raises(CallFailed):
        tokens_of(answer)
