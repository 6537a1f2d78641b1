"""Under which key a conversation is kept. Pure.

A key is a hash of its parts and their lengths: two that differ in any part never share one, whatever
separators stand in them; the longest id makes a short key; and nothing of what a client said stands in the store. Every
process makes the same keys, now and after an upgrade.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixiu_py.filters.llm.router.conversation import Conversation

_BYTES = 20
#: Keys of longer ids are not remembered.
_SHORT = 128
#: Changes when the same parts are to make other keys.
_PERSON = b"pixiu session 1"


def named(tenant: str | None, session_id: str, conversation: Conversation | None = None) -> str:
    """The key of a conversation that its client names.

    With ``conversation`` each of its strands has a key of its own: what asks for another model, or under another system
    text or with other tools, is a side call, and shall not move the model of the main loop.
    """
    if conversation is not None:
        return _key("named", tenant, (session_id, *_strand(conversation)))
    if len(session_id) <= _SHORT and len(tenant or "") <= _SHORT:
        return _short(tenant, session_id)
    return _key("named", tenant, (session_id,))


def recognised(tenant: str | None, conversation: Conversation, *, strands: bool = False) -> str | None:
    """The key of a conversation by how it begins, which stays as it grows. None: it says nothing yet.

    ``strands``: what asks for another model has another key.
    """
    first = conversation.first_user
    if first is None or not first.text:
        return None
    model = conversation.model if strands else ""
    return _key("recognised", tenant, (model, conversation.system, *conversation.tools, first.text))


@lru_cache(maxsize=4096)
def _short(tenant: str | None, session_id: str) -> str:
    """Conversations come again soon, and remembering is several times as fast as hashing."""
    return _key("named", tenant, (session_id,))


def _strand(conversation: Conversation) -> tuple[str, ...]:
    return (conversation.model, conversation.system, *conversation.tools)


def _key(kind: str, tenant: str | None, parts: Sequence[str]) -> str:
    texts = [text.encode("utf-8", "surrogatepass") for text in (kind, tenant or "", *parts)]
    lengths = ",".join([str(len(text)) for text in texts])
    start = f"{'-' if tenant is None else '+'}{lengths}:".encode("ascii")
    return blake2b(start + b"".join(texts), digest_size=_BYTES, person=_PERSON).hexdigest()
