"""OpenAI's shapes, as clients of vLLM know them."""

from typing import Any

import pytest

from pixiu_py.filters.llm.mock.model import complete
from tests.fakes.mock_model import HELLO, document, events, mock_model, post

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"


async def test_a_chat_completion_has_one_message_and_counts_its_tokens() -> None:
    answer = await document(await post(mock_model(), CHAT, HELLO))
    assert answer["id"].startswith("chatcmpl-")
    assert (answer["object"], answer["model"]) == ("chat.completion", "mock-small")
    (choice,) = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": complete("Hello", 16).text, "refusal": None}
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    assert answer["usage"] == {
        "prompt_tokens": 2,
        "total_tokens": 18,
        "completion_tokens": 16,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


async def test_a_chat_stream_is_role_tokens_finish_done() -> None:
    stream = await events(await post(mock_model(tokens=3), CHAT, {**HELLO, "stream": True}))
    assert stream.pop() == ("", "[DONE]")
    chunks = [chunk for _, chunk in stream]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    choices = [chunk["choices"][0] for chunk in chunks]
    pieces = complete("Hello", 3).pieces
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "content": ""},
        *({"content": piece} for piece in pieces),
        {},
    ]
    assert [choice["finish_reason"] for choice in choices] == [None] * 4 + ["stop"]
    assert not any("usage" in chunk for chunk in chunks)


async def test_a_stream_reports_usage_in_a_chunk_of_its_own_when_asked() -> None:
    body = {**HELLO, "stream": True, "stream_options": {"include_usage": True}}
    stream = await events(await post(mock_model(tokens=3), CHAT, body))
    usage = stream[-2][1]
    assert usage["choices"] == []
    assert (usage["usage"]["prompt_tokens"], usage["usage"]["completion_tokens"]) == (2, 3)


async def test_the_choices_of_a_stream_come_by_turns() -> None:
    stream = await events(await post(mock_model(tokens=2), CHAT, {**HELLO, "stream": True, "n": 2}))
    chunks = [chunk["choices"][0] for _, chunk in stream[:-1]]
    assert [chunk["index"] for chunk in chunks] == [0, 1] * 4
    said = ["".join(c["delta"].get("content", "") for c in chunks if c["index"] == index) for index in (0, 1)]
    assert said == [complete("Hello", 2).text, complete("Hello", 2, choice=1).text]


async def test_several_choices_are_counted_together() -> None:
    answer = await document(await post(mock_model(tokens=4), CHAT, {**HELLO, "n": 3}))
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["usage"]["completion_tokens"] == 12


@pytest.mark.parametrize("key", ["max_tokens", "max_completion_tokens"])
async def test_a_chat_is_cut_at_the_clients_limit(key: str) -> None:
    answer = await document(await post(mock_model(), CHAT, {**HELLO, key: 3}))
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 3


async def test_a_stop_sequence_ends_a_stream_too() -> None:
    stop = complete("Hello", 16).pieces[2]
    stream = await events(await post(mock_model(), CHAT, {**HELLO, "stream": True, "stop": stop}))
    said = "".join(chunk["choices"][0]["delta"].get("content", "") for _, chunk in stream[:-1])
    assert said == "".join(complete("Hello", 2).pieces)


async def test_a_stop_sequence_at_once_leaves_a_stream_without_tokens() -> None:
    first = complete("Hello", 16).pieces[0]
    stream = await events(await post(mock_model(), CHAT, {**HELLO, "stream": True, "stop": [first]}))
    assert len(stream) == 3  # role, finish, [DONE]


async def test_completions_answer_each_prompt() -> None:
    answer = await document(await post(mock_model(tokens=4), COMPLETIONS, {"prompt": ["Hello", "Bye"]}))
    assert answer["object"] == "text_completion"
    assert [choice["text"] for choice in answer["choices"]] == [complete("Hello", 4).text, complete("Bye", 4).text]
    assert answer["usage"]["prompt_tokens"] == 3


async def test_a_completions_stream_has_no_role_chunk() -> None:
    body = {"prompt": "Hello", "stream": True, "stream_options": {"include_usage": True}}
    stream = await events(await post(mock_model(tokens=2), COMPLETIONS, body))
    texts = [chunk["choices"][0]["text"] for _, chunk in stream[:3]]
    assert texts == [*complete("Hello", 2).pieces, ""]
    assert stream[2][1]["choices"][0]["finish_reason"] == "stop"
    assert stream[3][1]["usage"]["completion_tokens"] == 2
    assert stream[4][1] == "[DONE]"


@pytest.mark.parametrize(
    ("path", "change", "param"),
    [
        (CHAT, {"messages": "x"}, "messages"),
        (CHAT, {"n": 129}, "n"),
        (CHAT, {"max_tokens": 0}, "max_tokens"),
        (CHAT, {"stream": "yes"}, "stream"),
        (COMPLETIONS, {}, "prompt"),
        (COMPLETIONS, {"prompt": ["a"] * 65, "n": 2}, "n"),
        (COMPLETIONS, {"prompt": ["a"] * 129}, "prompt"),
    ],
)
async def test_a_wrong_value_is_refused_by_name(path: str, change: dict[str, Any], param: str) -> None:
    response = await post(mock_model(), path, {**HELLO, **change})
    error = (await document(response))["error"]
    assert (response.status, error["code"], error["param"]) == (400, 400, param)
    assert error["type"] == "BadRequestError"
    assert param in error["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_unknown_model_is_not_found_before_a_stream_begins(stream: bool) -> None:
    response = await post(mock_model(), CHAT, {**HELLO, "model": "nope", "stream": stream})
    assert response.status == 404
    assert (await document(response))["error"] == {
        "message": "The model `nope` does not exist. Valid aliases: mock-small, mock-big.",
        "type": "NotFoundError",
        "param": "model",
        "code": 404,
    }


async def test_the_first_model_answers_when_none_is_named() -> None:
    answer = await document(await post(mock_model(), CHAT, {"messages": []}))
    assert answer["model"] == "mock-small"


@pytest.mark.parametrize(("asked", "answered"), [("nope", "nope"), ("", "mock"), (None, "mock")])
async def test_any_model_is_there_when_none_is_configured(asked: str | None, answered: str) -> None:
    answer = await document(await post(mock_model(models=[]), CHAT, {**HELLO, "model": asked}))
    assert answer["model"] == answered
