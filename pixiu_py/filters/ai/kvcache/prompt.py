"""The prompt of a request as an index sees it: canonical text, cut into chunks, each with a key. Pure.

Two requests share a prefix when their engines would see the same first tokens, however their JSON is written. So the
text is put together in the order in which chat templates render it: model, tools, system prompt, messages. Each field
ends in a byte that UTF-8 never has: no field can pretend to be two. Fields that say how to answer (temperature, stream, …)
and marks that only concern billing (``cache_control``) are left out.

A key stands for all text up to the end of its chunk: two keys are equal only if everything before is equal as well. It is a
64-bit BLAKE2b digest; the text itself is kept nowhere. Chunks grow with their distance from the beginning, at least a
32nd of it, so a prompt of a megabyte has some 200 of them, not 2048.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any

import orjson

#: Bytes of a key.
KEY_SIZE = 8
#: Bytes of the first chunks.
CHUNK = 512
#: Chunks of one size before the size doubles.
RUN = 32
#: UTF-8 bytes per token, for estimates: English text has about 4 in the vocabularies of today.
BYTES_PER_TOKEN = 4

_END = b"\xff"
_PART = b"\xfe"
_UNSEEN = frozenset(("cache_control",))


class Prompt:
    """One request's prompt. ``document`` is its parsed body; ``model`` the name that the client asked for."""

    __slots__ = ("_ends", "_keys", "_length", "body", "document", "expected", "model", "path", "sent", "tokens")

    def __init__(self, model: str, path: str, body: bytes, document: dict[str, Any]) -> None:
        self.model = model
        #: Path of the request, which tells its API.
        self.path = path
        #: The body as the client sent it.
        self.body = body
        self.document = document
        #: The engine's own tokens, for indexes that ask for them; None as long as nobody has.
        self.tokens: Sequence[int] | None = None
        #: Once it has been sent: how many chunks the endpoint was known to hold before, and which endpoint that is.
        self.expected = 0
        self.sent = ""
        self._keys: list[bytes] | None = None
        self._ends: list[int] = []
        self._length = 0

    @property
    def keys(self) -> list[bytes]:
        """One key for each whole chunk, in order."""
        if self._keys is None:
            self._cut()
        return self._keys or []

    @property
    def ends(self) -> list[int]:
        """For each chunk the number of tokens up to its end, estimated."""
        if self._keys is None:
            self._cut()
        return self._ends

    @property
    def length(self) -> int:
        """Tokens in all: counted if the engine's tokens are known, else estimated."""
        if self.tokens is not None:
            return len(self.tokens)
        if self._keys is None:
            self._cut()
        return self._length

    def chunks_of(self, tokens: int) -> int:
        """How many whole chunks so many of its tokens are."""
        if tokens <= 0:
            return 0
        if self.tokens is not None and self.ends:  # counted tokens; the ends of chunks are estimates
            tokens = tokens * self._length // (len(self.tokens) or 1)
        return bisect_right(self.ends, tokens)

    def under(self, model: str) -> Prompt:
        """The same prompt for another model; an empty name means the same one."""
        if not model or model == self.model:
            return self
        return Prompt(model, self.path, self.body, self.document)

    def _cut(self) -> None:
        text = b"".join(canonical(self.document))
        self._keys, ends = chunk_keys(self.model.encode("utf-8", "replace"), text)
        self._ends = [end // BYTES_PER_TOKEN for end in ends]
        self._length = -(-len(text) // BYTES_PER_TOKEN)


def prompt_of(document: Any, model: str, path: str, body: bytes) -> Prompt | None:
    """The prompt in a parsed body; None when there is none that an engine would cache (embeddings, other APIs)."""
    if not isinstance(document, dict):
        return None
    if path.endswith("/embeddings") or not any(document.get(key) for key in ("messages", "prompt", "input")):
        return None
    return Prompt(model, path, body, document)


def chunk_keys(scope: bytes, text: bytes) -> tuple[list[bytes], list[int]]:
    """The keys of the whole chunks of ``text``, and the bytes up to the end of each."""
    state = blake2b(b"%d:%b" % (len(scope), scope), digest_size=KEY_SIZE)
    update, copy = state.update, state.copy
    keys: list[bytes] = []
    ends: list[int] = []
    start, size, left = 0, CHUNK, RUN
    total = len(text)
    while (end := start + size) <= total:
        update(text[start:end])
        keys.append(copy().digest())
        ends.append(end)
        start = end
        left -= 1
        if not left:
            size, left = size * 2, RUN
    return keys, ends


# --- canonical text --------------------------------------------------------------------------------------------------


def canonical(document: dict[str, Any]) -> Iterator[bytes]:
    """The text of a body of any of the four APIs, piece by piece."""
    for tool in _listed(document.get("tools")):
        yield b"tool" + _PART + _dumped(tool) + _END
    for key in ("system", "instructions"):
        if content := document.get(key):
            yield from _message("system", content)
    for key in ("messages", "input"):
        value = document.get(key)
        if isinstance(value, str):
            yield from _message("user", value)
        for message in _listed(value):
            yield from _entry(message)
    prompt = document.get("prompt")
    for text in prompt if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else [prompt]:
        if text:
            yield _text(text) + _END


def _entry(message: Any) -> Iterator[bytes]:
    """One item of ``messages`` or ``input``."""
    if not isinstance(message, dict):
        yield _dumped(message) + _END
        return
    role, content = message.get("role"), message.get("content")
    if len(message) == 2 and isinstance(role, str) and isinstance(content, str):  # most of them
        yield b"%b\xfe%b\xff" % (role.encode("utf-8", "replace"), content.encode("utf-8", "replace"))
        return
    rest = {key: value for key, value in message.items() if key not in ("role", "content", *_UNSEEN) and value}
    yield from _message(role if isinstance(role, str) else "", content)
    if rest:
        yield _dumped(rest) + _END


def _message(role: str, content: Any) -> Iterator[bytes]:
    yield role.encode("utf-8", "replace") + _PART
    if isinstance(content, str):
        yield content.encode("utf-8", "replace")
    else:
        for part in _listed(content):
            yield _content_part(part)
    yield _END


def _content_part(part: Any) -> bytes:
    """Text as itself, so that a single text part equals a plain string; anything else with all its fields."""
    if isinstance(part, dict):
        text = part.get("text")
        if isinstance(text, str) and part.get("type") in ("text", "input_text", "output_text"):
            return text.encode("utf-8", "replace")
    return _PART + _dumped(part)


def _text(value: Any) -> bytes:
    return (
        value.encode("utf-8", "replace") if isinstance(value, str) else _dumped(value)[1:-1]
    )  # token ids: no brackets


def _listed(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else ()


def _dumped(value: Any) -> bytes:
    if isinstance(value, dict) and not _UNSEEN.isdisjoint(value):
        value = {key: item for key, item in value.items() if key not in _UNSEEN}
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # nested deeper than can be written: no engine takes that for a prompt
        return b""
