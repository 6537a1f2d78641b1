"""A request of any of the client APIs, read into one shape. Pure, and it never fails: what cannot be read is left out.

It serves decisions only. What goes upstream is the client's own bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pixiu_py.filters.llm.model_name import named_model

#: Bytes that a token is taken for, as is usual for English text.
BYTES_PER_TOKEN = 4
#: Item types of the Responses API that answer a tool call end with this.
_TOOL_OUTPUT = "_output"


@dataclass(frozen=True, slots=True)
class Message:
    """One message. ``role`` is ``user``, ``assistant``, ``system`` or ``tool`` (what a tool answered)."""

    role: str
    text: str
    #: True when it has a part that is no text: an image, audio, a file.
    attached: bool = False


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a request says."""

    #: The model that it names; empty: none.
    model: str = ""
    messages: tuple[Message, ...] = ()
    #: Names of the tools that it offers.
    tools: tuple[str, ...] = ()

    @property
    def system(self) -> str:
        """Every system text, a line apart."""
        return "\n".join(message.text for message in self.messages if message.role == "system")

    @property
    def first_user(self) -> Message | None:
        """The first message of the user."""
        return next((message for message in self.messages if message.role == "user"), None)

    @property
    def last_user(self) -> Message | None:
        """The latest message of the user."""
        return next((message for message in reversed(self.messages) if message.role == "user"), None)

    @property
    def attached(self) -> bool:
        """True when there is an image or another part that is no text."""
        return any(message.attached for message in self.messages)

    @property
    def tokens(self) -> int:
        """About how many tokens its texts are."""
        size = sum(len(message.text.encode("utf-8", "replace")) for message in self.messages)
        return -(-size // BYTES_PER_TOKEN)


def read_conversation(document: Any) -> Conversation:
    """The conversation in a request body of the chat, text completions, Messages or Responses API."""
    if not isinstance(document, dict):
        return Conversation()
    messages: list[Message] = []
    for key in ("system", "instructions"):  # Anthropic's and the Responses API's
        text, attached = _content(document.get(key))
        if text or attached:
            messages.append(Message("system", text, attached))
    for key in ("messages", "input"):
        messages += _messages(document.get(key))
    messages += _prompts(document.get("prompt"))
    return Conversation(named_model(document), tuple(messages), _tools(document.get("tools")))


def _messages(value: Any) -> list[Message]:
    if isinstance(value, str):
        return [Message("user", value)]
    if not isinstance(value, list):
        return []
    found: list[Message] = []
    for item in value:
        if isinstance(item, dict):
            found += _message(item)
    return found


def _message(item: dict[str, Any]) -> list[Message]:
    kind, role = item.get("type"), item.get("role")
    if isinstance(kind, str) and kind.endswith(_TOOL_OUTPUT):
        return [Message("tool", *_content(item.get("output")))]
    if not isinstance(role, str):
        return []
    content = item.get("content")
    if role == "user" and isinstance(content, list):
        return _user(content)
    text, attached = _content(content)
    role = {"developer": "system", "function": "tool"}.get(role, role)
    return [Message(role, text, attached)]


def _user(parts: list[Any]) -> list[Message]:
    """A user's message. Anthropic puts the answers of tools into it: they come first, as messages of their own."""
    answers = [part for part in parts if isinstance(part, dict) and part.get("type") == "tool_result"]
    others = [part for part in parts if part not in answers] if answers else parts
    found = [Message("tool", *_content(part.get("content"))) for part in answers]
    if others or not answers:
        found.append(Message("user", *_content(others)))
    return found


def _content(content: Any) -> tuple[str, bool]:
    """The text of a message, and whether it has a part that is none."""
    if isinstance(content, str):
        return content, False
    if not isinstance(content, list):
        return "", False
    texts: list[str] = []
    attached = False
    for part in content:
        text = part if isinstance(part, str) else part.get("text") if isinstance(part, dict) else None
        if isinstance(text, str):
            texts.append(text)
        elif isinstance(part, dict):
            kind = part.get("type")
            attached = attached or not (isinstance(kind, str) and kind in _SILENT)
    return "\n".join(texts), attached


#: Parts of a message that are neither its text nor attached to it.
_SILENT = frozenset(("tool_use", "thinking", "redacted_thinking", "refusal", "reasoning", "server_tool_use"))


def _prompts(value: Any) -> list[Message]:
    """Prompts of the text completions API; token ids tell nothing."""
    texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return [Message("user", text) for text in texts if isinstance(text, str)]


def _tools(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    names = []
    for tool in value:
        if not isinstance(tool, dict):
            continue
        inner = tool.get("function") or tool.get("custom")
        name = (inner.get("name") if isinstance(inner, dict) else None) or tool.get("name") or tool.get("type")
        if isinstance(name, str):
            names.append(name)
    return tuple(names)
