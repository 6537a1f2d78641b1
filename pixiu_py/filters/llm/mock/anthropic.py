"""``POST /v1/messages`` in Anthropic's shape: named events, no ``[DONE]``, errors of its own form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pixiu_py.filters.llm.mock import ask as read
from pixiu_py.filters.llm.mock.api import PAUSE, Document, Stamp, sse
from pixiu_py.filters.llm.mock.ask import Ask, AskError
from pixiu_py.filters.llm.mock.model import Completion, count_tokens

#: Anthropic's names of errors; others are ``api_error`` from 500 on and ``invalid_request_error`` below.
ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class Messages:
    """``POST /v1/messages``"""

    def parse(self, document: Any) -> Ask:
        """System text and conversation are one prompt; ``max_tokens`` is required."""
        body = read.as_object(document)
        limit = read.count(body, "max_tokens")
        if limit is None:
            raise AskError(400, "max_tokens: Field required", "max_tokens")
        texts = read.conversation(body.get("messages"), "messages")
        system = read.content_text(body.get("system"), "system")
        return Ask(
            model=read.text_field(body, "model"),
            prompts=["\n".join([system, *texts] if system else texts)],
            limit=limit,
            stops=read.stop_sequences(body, "stop_sequences"),
            stream=read.flag(body, "stream"),
        )

    def reply(self, ask: Ask, stamp: Stamp, completions: Sequence[Completion]) -> Document:
        """A message with one block of text."""
        completion = completions[0]
        return {
            **_opening(stamp),
            "content": [{"type": "text", "text": completion.text}],
            **_ending(completion),
            "usage": _usage(ask, len(completion.pieces)),
        }

    def events(self, ask: Ask, stamp: Stamp, completions: Sequence[Completion]) -> Iterator[bytes]:
        """From ``message_start`` to ``message_stop``; the output tokens are told in ``message_delta``."""
        completion = completions[0]
        no_end = {"stop_reason": None, "stop_sequence": None}
        yield _event("message_start", message={**_opening(stamp), "content": [], **no_end, "usage": _usage(ask, 0)})
        yield _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        for piece in completion.pieces:
            yield PAUSE
            yield _event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
        yield _event("content_block_stop", index=0)
        yield _event("message_delta", delta=_ending(completion), usage=_usage(ask, len(completion.pieces)))
        yield _event("message_stop")

    def error(self, status: int, message: str, param: str | None = None) -> Document:
        """An error; this API has no place for ``param``."""
        kind = ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
        return {"type": "error", "error": {"type": kind, "message": message}}


def _event(kind: str, **fields: Any) -> bytes:
    return sse({"type": kind, **fields}, kind)


def _opening(stamp: Stamp) -> Document:
    return {"id": f"msg_{stamp.key}", "type": "message", "role": "assistant", "model": stamp.model}


def _ending(completion: Completion) -> Document:
    if completion.stopped_by is not None:
        return {"stop_reason": "stop_sequence", "stop_sequence": completion.stopped_by}
    return {"stop_reason": "max_tokens" if completion.finish == "length" else "end_turn", "stop_sequence": None}


def _usage(ask: Ask, output: int) -> Document:
    return {
        "input_tokens": sum(map(count_tokens, ask.prompts)),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output,
    }
