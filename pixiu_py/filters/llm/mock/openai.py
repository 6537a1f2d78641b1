"""OpenAI's shapes, as vLLM fills them: chat completions, completions, the list of models, errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pixiu_py.filters.llm.mock import ask as read
from pixiu_py.filters.llm.mock.api import PAUSE, Document, Stamp, sse
from pixiu_py.filters.llm.mock.ask import Ask
from pixiu_py.filters.llm.mock.model import Completion, count_tokens

DONE = b"data: [DONE]\n\n"

#: vLLM's names of errors; others are ``InternalServerError`` from 500 on and ``BadRequestError`` below.
ERROR_TYPES = {
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    405: "MethodNotAllowedError",
    429: "RateLimitError",
    503: "ServiceUnavailableError",
}


def error(status: int, message: str, param: str | None = None) -> Document:
    """An error as vLLM writes it."""
    kind = ERROR_TYPES.get(status, "InternalServerError" if status >= 500 else "BadRequestError")
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


def usage(ask: Ask, completions: Sequence[Completion]) -> Document:
    """Tokens of the prompts and of all replies. Nothing is ever cached here."""
    prompt = sum(map(count_tokens, ask.prompts))
    completion = sum(len(completion.pieces) for completion in completions)
    return {
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def interleaved(completions: Sequence[Completion]) -> Iterator[tuple[int, str]]:
    """The tokens of several replies by turns, as an engine that computes them together sends them: (choice, token)."""
    for position in range(max(len(completion.pieces) for completion in completions)):
        for index, completion in enumerate(completions):
            if position < len(completion.pieces):
                yield index, completion.pieces[position]


class _Completions:
    """What chat completions and completions have in common: the stream, and the errors."""

    prefix: str
    object: str
    chunk_object: str

    error = staticmethod(error)

    def first(self, index: int) -> Document | None:
        """The choice that opens a reply, if the API has one."""
        return None

    def piece(self, index: int, text: str) -> Document:
        """The choice that carries a token."""
        raise NotImplementedError

    def last(self, index: int, completion: Completion) -> Document:
        """The choice that ends a reply."""
        raise NotImplementedError

    def whole(self, index: int, completion: Completion) -> Document:
        """The choice of an answer that is not streamed."""
        raise NotImplementedError

    def reply(self, ask: Ask, stamp: Stamp, completions: Sequence[Completion]) -> Document:
        """The whole answer."""
        head = self._head(stamp, self.object)
        choices = [self.whole(index, completion) for index, completion in enumerate(completions)]
        return {**head, "choices": choices, "usage": usage(ask, completions)}

    def events(self, ask: Ask, stamp: Stamp, completions: Sequence[Completion]) -> Iterator[bytes]:
        """The answer as server-sent events, ended by ``[DONE]``."""
        head = self._head(stamp, self.chunk_object)
        for index in range(len(completions)):
            first = self.first(index)
            if first is not None:
                yield sse({**head, "choices": [first]})
        for index, text in interleaved(completions):
            yield PAUSE
            yield sse({**head, "choices": [self.piece(index, text)]})
        for index, completion in enumerate(completions):
            yield sse({**head, "choices": [self.last(index, completion)]})
        if ask.include_usage:
            yield sse({**head, "choices": [], "usage": usage(ask, completions)})
        yield DONE

    def _head(self, stamp: Stamp, kind: str) -> Document:
        return {"id": f"{self.prefix}-{stamp.key}", "object": kind, "created": stamp.created, "model": stamp.model}


class Chat(_Completions):
    """``POST /v1/chat/completions``"""

    prefix = "chatcmpl"
    object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def parse(self, document: Any) -> Ask:
        """The conversation is one prompt."""
        body = read.as_object(document)
        prompt = "\n".join(read.conversation(body.get("messages"), "messages"))
        return _asked(body, [prompt], read.count(body, "max_completion_tokens", "max_tokens"))

    def first(self, index: int) -> Document | None:
        """The role."""
        return _choice(index, {"delta": {"role": "assistant", "content": ""}}, None)

    def piece(self, index: int, text: str) -> Document:
        """One token."""
        return _choice(index, {"delta": {"content": text}}, None)

    def last(self, index: int, completion: Completion) -> Document:
        """An empty delta with the reason, as OpenAI sends it."""
        return _choice(index, {"delta": {}}, completion.finish)

    def whole(self, index: int, completion: Completion) -> Document:
        """A message."""
        message = {"role": "assistant", "content": completion.text, "refusal": None}
        return _choice(index, {"message": message}, completion.finish)


class Completions(_Completions):
    """``POST /v1/completions``"""

    prefix = "cmpl"
    object = chunk_object = "text_completion"

    def parse(self, document: Any) -> Ask:
        """Each prompt gets its own replies."""
        body = read.as_object(document)
        prompts = read.prompts(body.get("prompt"), "prompt", read.MAX_CHOICES)
        return _asked(body, prompts, read.count(body, "max_tokens"))

    def piece(self, index: int, text: str) -> Document:
        """One token."""
        return _choice(index, {"text": text}, None)

    def last(self, index: int, completion: Completion) -> Document:
        """An empty text with the reason."""
        return _choice(index, {"text": ""}, completion.finish)

    def whole(self, index: int, completion: Completion) -> Document:
        """A text."""
        return _choice(index, {"text": completion.text}, completion.finish)


def models(names: Sequence[str], created: int) -> Document:
    """``GET /v1/models``"""
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": created, "owned_by": "pixiu-py"} for name in names],
    }


def _choice(index: int, content: Document, finish: str | None) -> Document:
    return {"index": index, **content, "logprobs": None, "finish_reason": finish}


def _asked(body: Document, prompts: list[str], limit: int | None) -> Ask:
    options = body.get("stream_options")
    return Ask(
        model=read.text_field(body, "model"),
        prompts=prompts,
        limit=limit,
        choices=read.count(body, "n", most=read.MAX_CHOICES // len(prompts)) or 1,
        stops=read.stop_sequences(body, "stop"),
        stream=read.flag(body, "stream"),
        include_usage=isinstance(options, dict) and read.flag(options, "include_usage"),
    )
