"""``POST /v1/responses`` in OpenAI's shape: one message of text, never stored, no tools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from pixiu_py.filters.llm.mock import ask as read
from pixiu_py.filters.llm.mock import openai
from pixiu_py.filters.llm.mock.api import PAUSE, Document, Stamp, sse
from pixiu_py.filters.llm.mock.ask import Ask
from pixiu_py.filters.llm.mock.model import Completion, count_tokens


class Responses:
    """``POST /v1/responses``"""

    error = staticmethod(openai.error)

    def parse(self, document: Any) -> Ask:
        """Instructions and input are one prompt."""
        body = read.as_object(document)
        given = body.get("input")
        texts = [given] if isinstance(given, str) else read.conversation(given, "input")
        instructions = read.text_field(body, "instructions")
        return Ask(
            model=read.text_field(body, "model"),
            prompts=["\n".join([instructions, *texts] if instructions else texts)],
            limit=read.count(body, "max_output_tokens"),
            stream=read.flag(body, "stream"),
        )

    def reply(self, ask: Ask, stamp: Stamp, completions: Sequence[Completion]) -> Document:
        """The finished response; ``incomplete`` when it was cut off."""
        completion = completions[0]
        complete = completion.finish == "stop"
        return {
            **_response(ask, stamp),
            "status": "completed" if complete else "incomplete",
            "incomplete_details": None if complete else {"reason": "max_output_tokens"},
            "output": [_item(stamp, [_part(completion.text)], "completed" if complete else "incomplete")],
            "usage": _usage(ask, completion),
        }

    def events(self, ask: Ask, stamp: Stamp, completions: Sequence[Completion]) -> Iterator[bytes]:
        """From ``response.created`` to ``response.completed``, or ``response.incomplete`` when it was cut off."""
        numbers = count()
        for event in self._events(ask, stamp, completions[0]):
            if event is None:
                yield PAUSE
            else:
                kind, fields = event
                yield sse({"type": kind, "sequence_number": next(numbers), **fields}, kind)

    def _events(self, ask: Ask, stamp: Stamp, completion: Completion) -> Iterator[tuple[str, Document] | None]:
        begun = {**_response(ask, stamp), "status": "in_progress", "output": [], "usage": None}
        final = self.reply(ask, stamp, [completion])
        item = {"output_index": 0}
        part = {"item_id": f"msg_{stamp.key}", "output_index": 0, "content_index": 0}
        yield "response.created", {"response": begun}
        yield "response.in_progress", {"response": begun}
        yield "response.output_item.added", {**item, "item": _item(stamp, [], "in_progress")}
        yield "response.content_part.added", {**part, "part": _part("")}
        for piece in completion.pieces:
            yield None
            yield "response.output_text.delta", {**part, "delta": piece, "logprobs": []}
        yield "response.output_text.done", {**part, "text": completion.text, "logprobs": []}
        yield "response.content_part.done", {**part, "part": _part(completion.text)}
        yield "response.output_item.done", {**item, "item": final["output"][0]}
        yield f"response.{final['status']}", {"response": final}


def _response(ask: Ask, stamp: Stamp) -> Document:
    return {
        "id": f"resp_{stamp.key}",
        "object": "response",
        "created_at": stamp.created,
        "model": stamp.model,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": ask.limit,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "temperature": 1.0,
        "tool_choice": "none",
        "tools": [],
        "top_p": 1.0,
    }


def _item(stamp: Stamp, content: list[Document], status: str) -> Document:
    return {"id": f"msg_{stamp.key}", "type": "message", "role": "assistant", "status": status, "content": content}


def _part(text: str) -> Document:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(ask: Ask, completion: Completion) -> Document:
    prompt = sum(map(count_tokens, ask.prompts))
    output = len(completion.pieces)
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + output,
    }
