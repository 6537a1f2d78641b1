"""What a prompt consists of: its blocks in the order in which they are hashed, and which of them are marked. Pure.

Chat completions, Anthropic Messages and Responses each have their own way of writing the same things; a block is a role and
a JSON value in all of them. Messages stay in the order in which they were sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from pixiu_py.filters.llm.promptcache.markers import MARKER, MAX_BREAKPOINTS, MarkerError, Tiers
from pixiu_py.stores.promptcache.base import Tier

TOOL_DEFINITION = "tool_definition"
TOOL_CALL = "tool_call"


class Block(NamedTuple):
    """One piece of a prompt."""

    role: str
    value: Any
    marker: Any
    #: Where it stands: the list, then the positions. ``("messages", 3)`` is the whole content of a message.
    place: tuple[str | int, ...]

    @property
    def text(self) -> str:
        """What of it is counted as text: a definition or call as its JSON; an image or sound not at all."""
        value = self.value
        if self.role in (TOOL_DEFINITION, TOOL_CALL):
            unmarked = {key: item for key, item in value.items() if key != MARKER} if type(value) is dict else value
            try:
                return orjson.dumps(unmarked).decode()
            except orjson.JSONEncodeError:
                return ""
        text = value.get("text") if type(value) is dict else None
        return text if isinstance(text, str) else ""


class Breakpoint(NamedTuple):
    """A marked block: its number, and how long the prefix that it ends is to live."""

    block: int
    tier: Tier


class Telemetry:
    """Which parts of a system message are a client's own bookkeeping: they change with each request, and are no prompt."""

    __slots__ = ("_encoded", "_prefixes")

    def __init__(self, prefixes: Sequence[str]) -> None:
        self._prefixes = tuple(prefix for prefix in prefixes if prefix)
        self._encoded = tuple(prefix.encode() for prefix in self._prefixes)

    def is_in(self, body: bytes) -> bool:
        """False when there can be none: a quick look."""
        for prefix in self._encoded:  # noqa: SIM110 - a generator costs more than the look
            if prefix in body:
                return True
        return False

    def __call__(self, part: Any) -> bool:
        """Whether a part of a system message is one. A marked part never is."""
        if not self._prefixes or type(part) is not dict or part.get(MARKER) is not None:
            return False
        text = part.get("text")
        return isinstance(text, str) and text.lstrip().startswith(self._prefixes)


class Api(NamedTuple):
    """One way of writing a prompt."""

    name: str
    blocks: Callable[[dict[str, Any], Telemetry], Iterator[Block]]


def read(
    api: Api, document: dict[str, Any], tiers: Tiers, telemetry: Telemetry
) -> tuple[list[Block], list[Breakpoint]]:
    """All blocks of a body, and its breakpoints in their order. Raises ``MarkerError``."""
    blocks: list[Block] = []
    breakpoints: list[Breakpoint] = []
    for number, block in enumerate(api.blocks(document, telemetry)):
        blocks.append(block)
        if block.marker is None:
            continue
        tier = tiers.of(block.marker)
        if tier is None:
            continue
        if len(breakpoints) == MAX_BREAKPOINTS:
            raise MarkerError("too_many_breakpoints", f"at most {MAX_BREAKPOINTS} blocks may have a cache_control")
        breakpoints.append(Breakpoint(number, tier))
    automatic = tiers.of(document.get(MARKER))
    if automatic is not None and blocks:
        _mark_last(len(blocks) - 1, automatic, breakpoints)
    return blocks, breakpoints


def _mark_last(last: int, tier: Tier, breakpoints: list[Breakpoint]) -> None:
    """The top-level marker stands for one on the last block."""
    if breakpoints and breakpoints[-1].block == last:
        if breakpoints[-1].tier != tier:
            raise MarkerError("automatic_ttl_conflict", "the last block has a cache_control with another ttl")
        return
    if len(breakpoints) == MAX_BREAKPOINTS:
        raise MarkerError(
            "automatic_no_slot", f"{MAX_BREAKPOINTS} blocks are marked: none is left for the top-level cache_control"
        )
    breakpoints.append(Breakpoint(last, tier))


def _marker(value: Any) -> Any:
    return value.get(MARKER) if type(value) is dict else None


def _tools(document: dict[str, Any]) -> Iterator[Block]:
    tools = document.get("tools")
    if type(tools) is list:
        for number, tool in enumerate(tools):
            yield Block(TOOL_DEFINITION, tool, _marker(tool), ("tools", number))


def _content(
    role: str, content: Any, place: tuple[str | int, ...], telemetry: Telemetry, kind: str = "text"
) -> Iterator[Block]:
    if isinstance(content, str):
        yield Block(role, {"type": kind, "text": content}, None, place)
    elif type(content) is list:
        for number, part in enumerate(content):
            if role != "system" or not telemetry(part):
                yield Block(role, part, _marker(part), (*place, number))


def _role(message: dict[str, Any]) -> str:
    role = message.get("role")
    return role if isinstance(role, str) else ""


def _chat(document: dict[str, Any], telemetry: Telemetry) -> Iterator[Block]:
    yield from _tools(document)
    messages = document.get("messages")
    for number, message in enumerate(messages if type(messages) is list else ()):
        if type(message) is not dict:
            continue
        role = _role(message)
        yield from _content(role, message.get("content"), ("messages", number), telemetry)
        calls = message.get("tool_calls") if role == "assistant" else None
        for place, call in enumerate(calls if type(calls) is list else ()):
            yield Block(TOOL_CALL, call, _marker(call), ("tool_calls", number, place))


def _messages(document: dict[str, Any], telemetry: Telemetry) -> Iterator[Block]:
    yield from _tools(document)
    yield from _content("system", document.get("system"), ("system",), telemetry)
    messages = document.get("messages")
    for number, message in enumerate(messages if type(messages) is list else ()):
        if type(message) is dict:
            yield from _content(_role(message), message.get("content"), ("messages", number), telemetry)


def _responses(document: dict[str, Any], telemetry: Telemetry) -> Iterator[Block]:
    yield from _tools(document)
    yield from _content("system", document.get("instructions"), ("instructions",), telemetry, "input_text")
    given = document.get("input")
    if isinstance(given, str):
        yield Block("user", {"type": "input_text", "text": given}, None, ("input",))
    for number, item in enumerate(given if type(given) is list else ()):
        if type(item) is not dict:
            continue
        if "content" in item and _role(item):
            kind = "output_text" if _role(item) == "assistant" else "input_text"
            yield from _content(_role(item), item["content"], ("input", number), telemetry, kind)
        else:  # a call, its output, a reasoning step: one block each
            role = TOOL_CALL if item.get("type") == "function_call" else ""
            yield Block(role, item, _marker(item), ("input", number))


CHAT = Api("chat", _chat)
MESSAGES = Api("messages", _messages)
RESPONSES = Api("responses", _responses)


def api_of(path: str) -> Api | None:
    """The API that a request path belongs to; None when it has no prompt with blocks."""
    if path.endswith("/chat/completions"):
        return CHAT
    if path.endswith("/messages"):
        return MESSAGES
    if path.endswith("/responses"):
        return RESPONSES
    return None
