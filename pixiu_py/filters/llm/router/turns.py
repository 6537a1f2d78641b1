"""Whose turn it is: has the user spoken, or do tools answer what a model asked them for? Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixiu_py.filters.llm.router.conversation import Conversation

#: What coding agents put into the user's mouth by themselves. One that does not end takes the rest with it.
_ENVELOPE = re.compile(
    r"<(system-reminder|user-prompt-submit-hook)>.*?(?:</\1>|\Z)",
    re.DOTALL,
)


def is_user_turn(conversation: Conversation) -> bool:
    """True when the last word is the user's own: text beside what agents add, an image, a file."""
    if not conversation.messages:
        return False
    last = conversation.messages[-1]
    return last.role == "user" and (last.attached or bool(_ENVELOPE.sub("", last.text).strip()))
