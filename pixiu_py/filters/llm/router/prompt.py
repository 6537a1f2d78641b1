"""The question to a router model: which of these routes does this conversation belong to? Pure.

Routes stand in their declared order, so that the beginning of the prompt is the same for every request and an engine's
prefix cache helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import orjson

from pixiu_py.filters.llm.router.conversation import BYTES_PER_TOKEN

if TYPE_CHECKING:
    from pixiu_py.filters.llm.router.conversation import Conversation, Message
    from pixiu_py.filters.llm.router.model import Preference

_BEFORE = """
You sort conversations. Choose the route that the user's latest wish belongs to.

<routes>
"""
_BETWEEN = """
</routes>

<conversation>
"""
_AFTER = """
</conversation>

- What the user wants now counts; earlier turns only explain it.
- Compare it with the description of each route. Several may fit: name the best one first.
- Use the names exactly as they are written. If no route fits, or the wish has been fulfilled already, name none.

Answer with this JSON object and nothing else, the list empty when no route fits:
{"route": ["name"]}
"""
_ELLIPSIS = "…"
_SPOKEN = ("user", "assistant")


def build_prompt(
    routes: Sequence[Preference], conversation: Conversation, max_tokens: int, max_messages: int
) -> str | None:
    """The prompt, of at most ``max_tokens`` tokens of four bytes; None when the routes alone are too long, or nobody speaks.

    Of the conversation, the latest messages are kept whole as long as there is room; a user's message for which there is
    not loses its middle.
    """
    listed = b"\n".join(orjson.dumps({"name": route.name, "description": route.description}) for route in routes)
    frame = [_BEFORE.encode(), listed, _BETWEEN.encode(), _AFTER.encode()]
    room = max_tokens * BYTES_PER_TOKEN - sum(map(len, frame)) - len("[\n\n]")
    spoken = [message for message in conversation.messages if message.role in _SPOKEN and message.text.strip()]
    lines = latest(spoken[-max_messages:], room)
    if not lines:
        return None
    return b"".join([*frame[:3], b"[\n", b",\n".join(lines), b"\n]", frame[3]]).decode()


def latest(messages: Sequence[Message], room: int) -> list[bytes]:
    """The last messages, oldest first, as JSON objects of at most ``room`` bytes together with what stands between."""
    lines: list[bytes] = []
    for message in reversed(messages):
        line = _line(message, message.text)
        if len(line) + 2 > room:
            cut = _cut(message, room - 2) if message.role == "user" or not lines else None
            if cut is not None:
                lines.append(cut)
            break
        lines.append(line)
        room -= len(line) + 2
    return lines[::-1]


def _cut(message: Message, room: int) -> bytes | None:
    """The message without its middle, as a JSON object of at most ``room`` bytes; None when that leaves nothing of it."""
    limit = room - len(_line(message, ""))
    while limit > len(_ELLIPSIS.encode()):
        line = _line(message, without_middle(message.text, limit))
        if len(line) <= room:
            return line
        limit = limit * room // len(line) - 1  # signs that have to be escaped take more room than they are long
    return None


def without_middle(text: str, limit: int) -> str:
    """``text`` in at most ``limit`` bytes of UTF-8: three fifths of its head, an ellipsis, and the rest of its tail."""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return text
    room = limit - len(_ELLIPSIS.encode())
    if room <= 0:
        return data[: max(limit, 0)].decode("utf-8", "ignore")
    head = room * 3 // 5
    return f"{data[:head].decode('utf-8', 'ignore')}{_ELLIPSIS}{data[len(data) - (room - head) :].decode('utf-8', 'ignore')}"


def _line(message: Message, text: str) -> bytes:
    return orjson.dumps({"role": message.role, "content": text.encode("utf-8", "replace").decode()})
