"""Under which key a conversation is kept. Pure.

A key is a hash of its parts, each with its length before it: two that differ in any part never share one, whatever
separators stand in them; the longest id makes a short key; and nothing of what a client said stands in the store. Every
process makes the same keys, now and after an upgrade.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixiu_py.filters.llm.router.conversation import Conversation

_BYTES = 20
#: Changes when the same parts are to make other keys.
_PERSON = b"pixiu session 1"


def named(tenant: str | None, session_id: str, conversation: Conversation | None = None) -> str:
    """The key of a conversation that its client names.

    With ``conversation`` each of its strands has a key of its own: what asks for another model, or under another system
    text or with other tools, is a side call, and shall not move the model of the main loop.
    """
    return _key("named", tenant, (session_id, *(() if conversation is None else _strand(conversation))))


def recognised(tenant: str | None, conversation: Conversation, *, strands: bool = False) -> str | None:
    """The key of a conversation by how it begins, which stays as it grows. None: it says nothing yet.

    ``strands``: what asks for another model has another key.
    """
    first = conversation.first_user
    if first is None or not first.text:
        return None
    model = conversation.model if strands else ""
    return _key("recognised", tenant, (model, conversation.system, *conversation.tools, first.text))


def _strand(conversation: Conversation) -> tuple[str, ...]:
    return (conversation.model, conversation.system, *conversation.tools)


def _key(kind: str, tenant: str | None, parts: Sequence[str]) -> str:
    digest = blake2b(digest_size=_BYTES, person=_PERSON)
    for part in _lengths(kind, tenant, parts):
        digest.update(part)
    return digest.hexdigest()


def _lengths(kind: str, tenant: str | None, parts: Sequence[str]) -> Iterator[bytes]:
    yield b"-" if tenant is None else b"+"
    for part in (kind, tenant or "", *parts):
        data = part.encode("utf-8", "surrogatepass")
        yield b"%d:" % len(data)
        yield data
