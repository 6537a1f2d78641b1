"""The APIs that clients speak: how each says that something failed, and how each says that a stream is complete. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

import orjson

from pixiu_py.http.headers import Headers

#: Finds something in the last bytes of a stream.
Search = Callable[[bytes], re.Match[bytes] | None]

#: A finish reason, neither null nor empty. Inside of generated text the quotes would be escaped, so this cannot be text.
_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"[^"]').search
#: The look back stands after the word because a pattern that begins with a word is found five to ten times as fast.
_CHAT_END = re.compile(rb'data:(?<![^\r\n]data:) ?(?:\[DONE\]|\{\s*"error"\s*:)').search
_MESSAGE_STOP = re.compile(rb'"type"\s*:\s*"(?:message_stop|error)"').search
_RESPONSE_END = re.compile(rb'"type"\s*:\s*"(?:response\.(?:completed|failed|incomplete)|error)"').search


class Dialect:
    """One API. ``end`` finds the event with which its streams end, ``enough`` what some servers leave it at."""

    __slots__ = ("_end", "_enough", "_render", "name")

    def __init__(
        self, name: str, render: Callable[[str, str], bytes], end: Search | None, enough: Search | None = None
    ) -> None:
        self.name = name
        self._render = render
        self._end = end
        self._enough = enough

    def error_event(self, message: str, code: str) -> bytes:
        """One well-formed SSE event that the client's SDK raises as an error."""
        return self._render(message, code)

    def complete(self, tail: bytes) -> bool:
        """True when a stream with these last events has ended properly, or when this API has no way to tell."""
        return self._end is None or self.ended(tail) or (self._enough is not None and self._enough(tail) is not None)

    def ended(self, tail: bytes) -> bool:
        """True when the last event of this API is among these: whatever breaks after it, nothing is missing."""
        return self._end is not None and self._end(tail) is not None


def _openai_error(message: str, code: str) -> bytes:
    error = {"message": message, "type": "upstream_error", "param": None, "code": code}
    return b"data: %b\n\n" % orjson.dumps({"error": error})


def _anthropic_error(message: str, code: str) -> bytes:
    error = {"type": "api_error", "message": f"{message} ({code})"}
    return b"event: error\ndata: %b\n\n" % orjson.dumps({"type": "error", "error": error})


def _responses_error(message: str, code: str) -> bytes:
    event = {"type": "error", "code": code, "message": message, "param": None}
    return b"event: error\ndata: %b\n\n" % orjson.dumps(event)


CHAT = Dialect("chat", _openai_error, _CHAT_END, _FINISHED)
MESSAGES = Dialect("messages", _anthropic_error, _MESSAGE_STOP)
RESPONSES = Dialect("responses", _responses_error, _RESPONSE_END)
OTHER = Dialect("other", _openai_error, None)


def dialect_of(path: str) -> Dialect:
    """The API that a request path belongs to."""
    if path.endswith("/completions"):  # chat completions and the older text completions end alike
        return CHAT
    if path.endswith("/messages"):
        return MESSAGES
    if path.endswith("/responses"):
        return RESPONSES
    return OTHER


def early_error(event_name: str, data: bytes) -> tuple[int, str] | None:
    """The status and message of a stream's event that is an error, or None for any other event.

    The status is what the event itself gives (as ``code`` or ``status``), else 502.
    """
    if event_name != "error" and b'"error"' not in data:
        return None
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict):
        return None
    error = document.get("error")
    if error is None:
        return (502, "") if event_name == "error" else None
    fields = error if isinstance(error, dict) else {"message": error}
    return _status_in(fields), str(fields.get("message") or "")


def _status_in(fields: dict[str, object]) -> int:
    for key in ("code", "status", "status_code"):
        value = fields.get(key)
        if isinstance(value, str) and len(value) == 3 and value.isdecimal():
            value = int(value)
        if isinstance(value, int) and 400 <= value < 600:
            return value
    return _STATUS_OF_TYPE.get(str(fields.get("type", "")), 502)


#: Anthropic names its errors instead of numbering them.
_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "BadRequestError": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "NotFoundError": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "overloaded_error": 503,
}


def is_event_stream(headers: Headers) -> bool:
    """True for an event stream that can be read: a compressed one is passed on unseen."""
    kind = headers.get("content-type")
    return kind is not None and kind.lower().startswith("text/event-stream") and "content-encoding" not in headers
