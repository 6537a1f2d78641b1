"""Requests of every client API are read into one shape, and nothing that a client sends makes reading fail."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixiu_py.filters.llm.router.conversation import Message, read_conversation

IMAGE = {"type": "image_url", "image_url": {"url": "data:"}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "output", "name", "function", "tool_result"]),
            inner | st.sampled_from(["user", "text", "tool_result", "function_call_output", "tool"]),
            max_size=4,
        )
    ),
    max_leaves=20,
)


def said(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Role and text of each message."""
    return [(message.role, message.text) for message in read_conversation(document).messages]


def test_chat() -> None:
    """Developer texts are system texts; parts of a text are joined; tool answers are no user's."""
    document = {
        "model": "m",
        "messages": [
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "look"}, IMAGE, {"type": "text", "text": "here"}]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
            {"role": "tool", "content": "42", "tool_call_id": "1"},
        ],
        "tools": [{"type": "function", "function": {"name": "sum"}}, {"type": "custom", "custom": {"name": "run"}}],
    }
    assert said(document) == [("system", "be brief"), ("user", "look\nhere"), ("assistant", ""), ("tool", "42")]
    conversation = read_conversation(document)
    assert (conversation.model, conversation.tools) == ("m", ("sum", "run"))
    assert conversation.attached
    assert conversation.system == "be brief"
    assert conversation.first_user == conversation.last_user == Message("user", "look\nhere", attached=True)


def test_messages_api() -> None:
    """Anthropic's system text stands apart; the answers of tools are in the user's message."""
    document = {
        "system": [{"type": "text", "text": "be brief"}],
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "sum", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "42"}]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "2", "content": [{"type": "text", "text": "43"}]},
                    {"type": "text", "text": "and now?"},
                ],
            },
        ],
        "tools": [{"name": "sum", "input_schema": {}}],
    }
    assert said(document) == [
        ("system", "be brief"),
        ("user", "hi"),
        ("assistant", ""),
        ("tool", "42"),
        ("tool", "43"),
        ("user", "and now?"),
    ]
    assert not read_conversation(document).attached
    assert read_conversation(document).tools == ("sum",)


def test_responses_api() -> None:
    """Instructions are a system text; the input is a text or items; outputs of calls are tool answers."""
    assert said({"instructions": "be brief", "input": "hi"}) == [("system", "be brief"), ("user", "hi")]
    items = [
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": "x"}],
        },
        {"type": "reasoning", "summary": []},
        {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "1"},
        {"type": "function_call_output", "call_id": "1", "output": "42"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "so"}]},
    ]
    assert said({"input": items}) == [("user", "look"), ("tool", "42"), ("assistant", "so")]
    assert read_conversation({"input": items}).attached


@pytest.mark.parametrize("prompt", ["once", ["once"], ["once", 3]])
def test_text_completions(prompt: Any) -> None:
    """A prompt, or several."""
    assert said({"prompt": prompt}) == [("user", "once")]


def test_tokens_are_four_bytes() -> None:
    """Rounded up; letters beyond ASCII are several bytes."""
    assert read_conversation({"messages": [{"role": "user", "content": "äää"}]}).tokens == 2
    assert read_conversation({}).tokens == 0


@given(
    st.dictionaries(st.sampled_from(["model", "system", "instructions", "messages", "input", "prompt", "tools"]), JSON)
    | JSON
)
def test_anything_can_be_read(document: Any) -> None:
    """Whatever JSON a client sends: a conversation comes of it, with texts in it."""
    conversation = read_conversation(document)
    assert isinstance(conversation.model, str)
    assert all(isinstance(message.text, str) and message.role for message in conversation.messages if message.role)
    assert conversation.tokens >= 0
