"""Replies in the shapes of the OpenAI and Anthropic APIs, each with a label that tells which endpoint made it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from tests.fakes.actions import JSON, SSE, Piece, respond, stream
from tests.fakes.upstream import Action
from tests.fakes.wire import Raw

DONE = b"data: [DONE]\n\n"


def event(data: Any, name: str = "") -> bytes:
    """One SSE event; ``data`` is bytes as they are, or anything that becomes JSON."""
    text = data if isinstance(data, bytes) else orjson.dumps(data)
    prefix = f"event: {name}\n".encode() if name else b""
    return prefix + b"data: " + text + b"\n\n"


def completion(label: str, **more: Any) -> dict[str, Any]:
    """A ``chat.completion`` object."""
    return {
        "id": f"chatcmpl-{label}",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": label}, "finish_reason": "stop"},
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        **more,
    }


def chat(label: str, headers: Sequence[Raw] = (), **more: Any) -> Action:
    """Answer with a chat completion whose content is ``label``."""
    return respond(200, [JSON, *headers], orjson.dumps(completion(label, **more)))


def chunk_event(content: str, finish: str | None = None) -> bytes:
    """One ``chat.completion.chunk`` as an SSE event."""
    choice = {"index": 0, "delta": {"content": content} if content else {}, "finish_reason": finish}
    return event({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})


def chat_events(label: str, words: int = 3) -> list[bytes]:
    """A whole chat stream: ``words`` pieces of content, a finish reason, ``[DONE]``."""
    return [*(chunk_event(f"{label}{n} ") for n in range(words)), chunk_event("", "stop"), DONE]


def chat_sse(label: str, words: int = 3, headers: Sequence[Raw] = ()) -> Action:
    """Answer with a whole chat stream."""
    return stream(chat_events(label, words), headers=[SSE, *headers])


def cut_sse(label: str, after: int = 2, how: str = "close") -> Action:
    """A chat stream that breaks off without its HTTP end, after so many events. ``how``: ``close`` or ``reset``."""
    return stream(chat_events(label, after + 1)[:after], then=how)


def unfinished_sse(label: str, after: int = 2) -> Action:
    """A chat stream that ends well for HTTP, yet without finish reason and without ``[DONE]``."""
    return stream(chat_events(label, after + 1)[:after])


def error_sse(message: str = "engine is overloaded", code: int = 503) -> Action:
    """A 200 stream whose first event is an error, as overloaded engines send it."""
    events: list[Piece] = [event({"error": {"message": message, "type": "server_error", "code": code}})]
    return stream(events)


def message(label: str) -> dict[str, Any]:
    """An Anthropic message."""
    return {
        "id": f"msg_{label}",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": label}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 2},
    }


def message_events(label: str, words: int = 3) -> list[bytes]:
    """A whole Anthropic message stream."""
    start = {**message(label), "content": [], "stop_reason": None, "usage": {"input_tokens": 3, "output_tokens": 1}}
    steps: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": f"{label}{n} "}}
            for n in range(words)
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 2},
        },
        {"type": "message_stop"},
    ]
    return [event(step, step["type"]) for step in steps]


def error(status: int, headers: Sequence[Raw] = (), message: str = "no") -> Action:
    """An error reply in OpenAI's shape."""
    body = orjson.dumps({"error": {"message": message, "type": "test_error", "code": status}})
    return respond(status, [JSON, *headers], body)


def rate_limited(retry_after: str = "") -> Action:
    """A 429, with ``Retry-After`` if given."""
    return error(429, [(b"Retry-After", retry_after.encode())] if retry_after else [], "slow down")
