"""Has the user spoken, or do tools answer? In each of the client APIs."""

from __future__ import annotations

from typing import Any

import pytest

from pixiu_py.filters.llm.router.conversation import read_conversation
from pixiu_py.filters.llm.router.turns import is_user_turn

REMINDER = "<system-reminder>Be careful.\nVery.</system-reminder>"
HOOK = "<user-prompt-submit-hook>ok</user-prompt-submit-hook>"
IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": ""}}]}


def user(content: Any) -> list[dict[str, Any]]:
    """The latest message of a conversation."""
    return [{"role": "user", "content": "First"}, CALL, {"role": "user", "content": content}]


def text(words: str) -> dict[str, str]:
    """A part of a message."""
    return {"type": "text", "text": words}


SPOKEN = {
    "text": user("Go on"),
    "part": user([text("Go on")]),
    "image alone": user([IMAGE]),
    "text behind an envelope": user(f"{REMINDER}\nGo on {HOOK}"),
    "part beside an envelope": user([text(REMINDER), text("Go on")]),
    "a tag that is none": user("<system>x</system>"),
    "envelope in the wrong order": user("</system-reminder>"),
    "tool result with new text": [
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "1"}, text("Go on")]}
    ],
    "the first message": [{"role": "user", "content": "Hello"}],
}
NOT_SPOKEN: dict[str, list[dict[str, Any]]] = {
    "nothing": [],
    "empty": user(""),
    "whitespace": user(" \n\t"),
    "null": user(None),
    "no parts": user([]),
    "envelope": user(REMINDER),
    "two envelopes": user(f"{REMINDER}\n{HOOK}"),
    "envelope that does not end": user("<system-reminder>Go on"),
    "tool": [{"role": "user", "content": "First"}, CALL, {"role": "tool", "tool_call_id": "c", "content": "1"}],
    "function": [{"role": "function", "name": "f", "content": "1"}],
    "tool result": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [text("1")]}]}],
    "tool result with an image": [
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [IMAGE]}]}
    ],
    "tool result with an envelope": [
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "1"}, text(REMINDER)]}
    ],
    "the assistant's": [{"role": "user", "content": "First"}, {"role": "assistant", "content": "It is"}],
    "system": [{"role": "user", "content": "First"}, {"role": "system", "content": "Be brief"}],
}


@pytest.mark.parametrize("messages", SPOKEN.values(), ids=SPOKEN)
def test_the_user_has_spoken(messages: list[dict[str, Any]]) -> None:
    assert is_user_turn(read_conversation({"messages": messages}))


@pytest.mark.parametrize("messages", NOT_SPOKEN.values(), ids=NOT_SPOKEN)
def test_the_user_has_not_spoken(messages: list[dict[str, Any]]) -> None:
    assert not is_user_turn(read_conversation({"messages": messages}))


@pytest.mark.parametrize("kind", ["function_call_output", "custom_tool_call_output"])
def test_tools_answer_in_the_responses_api(kind: str) -> None:
    """There they are items of their own."""
    items = [{"role": "user", "content": "First"}, {"type": kind, "call_id": "c", "output": "1"}]
    assert not is_user_turn(read_conversation({"input": items}))
    assert is_user_turn(read_conversation({"input": [*items, {"role": "user", "content": "Go on"}]}))
    assert is_user_turn(read_conversation({"input": "Hello"}))


def test_a_long_text_takes_no_long_time() -> None:
    """Work grows with the size of the text, not with its square: a client cannot hold the gateway up with tags."""
    pieces = "<system-reminder>" * 50_000
    assert not is_user_turn(read_conversation({"messages": user(pieces)}))
    pieces = "<system-reminder></system-reminder>" * 50_000
    assert not is_user_turn(read_conversation({"messages": user(pieces)}))
