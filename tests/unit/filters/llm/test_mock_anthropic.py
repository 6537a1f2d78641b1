"""Anthropic's shapes: named events, stop reasons and errors of their own."""

from typing import Any

import pytest

from pixiu_py.filters.llm.mock.model import complete
from tests.fakes.mock_model import HELLO, document, events, mock_model, post

PATH = "/v1/messages"
ASK: dict[str, Any] = {**HELLO, "max_tokens": 100}


async def test_a_message_has_one_block_of_text() -> None:
    answer = await document(await post(mock_model(), PATH, ASK))
    assert (answer["type"], answer["role"], answer["model"]) == ("message", "assistant", "mock-small")
    assert answer["content"] == [{"type": "text", "text": complete("Hello", 16).text}]
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("end_turn", None)
    assert answer["usage"] == {
        "input_tokens": 2,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 16,
    }


async def test_a_stream_goes_from_message_start_to_message_stop_without_done() -> None:
    stream = await events(await post(mock_model(tokens=2), PATH, {**ASK, "stream": True}))
    assert [name for name, _ in stream] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert all(data["type"] == name for name, data in stream)
    assert [data["delta"]["text"] for name, data in stream if name == "content_block_delta"] == complete(
        "Hello", 2
    ).pieces


async def test_a_stream_tells_input_tokens_first_and_output_tokens_last() -> None:
    stream = dict(await events(await post(mock_model(tokens=2), PATH, {**ASK, "stream": True})))
    start, delta = stream["message_start"]["message"], stream["message_delta"]
    assert (start["usage"]["input_tokens"], start["usage"]["output_tokens"], start["stop_reason"]) == (2, 0, None)
    assert (delta["usage"]["output_tokens"], delta["delta"]["stop_reason"]) == (2, "end_turn")


async def test_the_system_text_is_part_of_the_prompt() -> None:
    plain = await document(await post(mock_model(), PATH, ASK))
    for system in ("Be brief", [{"type": "text", "text": "Be brief"}]):
        answer = await document(await post(mock_model(), PATH, {**ASK, "system": system}))
        assert answer["usage"]["input_tokens"] == 4
        assert answer["content"] != plain["content"]


async def test_the_reason_tells_a_limit_from_a_stop_sequence() -> None:
    cut = await document(await post(mock_model(), PATH, {**ASK, "max_tokens": 3}))
    assert (cut["stop_reason"], cut["stop_sequence"]) == ("max_tokens", None)
    stop = complete("Hello", 16).pieces[2]
    stopped = await document(await post(mock_model(), PATH, {**ASK, "stop_sequences": [stop]}))
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", stop)


@pytest.mark.parametrize(
    ("change", "status", "kind"),
    [
        ({"max_tokens": None}, 400, "invalid_request_error"),
        ({"messages": "x"}, 400, "invalid_request_error"),
        ({"model": "nope"}, 404, "not_found_error"),
    ],
)
async def test_errors_are_in_anthropics_form(change: dict[str, Any], status: int, kind: str) -> None:
    response = await post(mock_model(), PATH, {**ASK, **change})
    answer = await document(response)
    assert (response.status, answer["type"], answer["error"]["type"]) == (status, "error", kind)
    assert set(answer["error"]) == {"type", "message"}


@pytest.mark.parametrize(("status", "kind"), [(429, "rate_limit_error"), (529, "overloaded_error"), (503, "api_error")])
async def test_a_failure_is_in_anthropics_form_too(status: int, kind: str) -> None:
    response = await post(mock_model(failure_rate=1, failure_status=status), PATH, ASK)
    assert (response.status, (await document(response))["error"]["type"]) == (status, kind)
