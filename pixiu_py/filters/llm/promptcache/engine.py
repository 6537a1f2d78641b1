"""Counts by the engine itself: its ``/tokenize`` is given the chat up to each mark, so that its own template is counted too.

The tokens of a template belong to the whole chat. So an engine is asked once for each mark behind what was read, with
everything before it; the marks are at most four.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from pixiu_py.filters.llm.engine_tokens import Tokenizer, TokenizeRequest
from pixiu_py.filters.llm.promptcache.blocks import CHAT, TOOL_DEFINITION, Block, Breakpoint
from pixiu_py.filters.llm.promptcache.count import CountFailed, Prompt, TokenCounter
from pixiu_py.filters.llm.promptcache.outgoing import outgoing
from pixiu_py.upstream.client import CallFailed, Client, Service, base_at


class EngineCounter(TokenCounter):
    """Asks the endpoint that serves the model, or the one at ``url``."""

    def __init__(self, url: str, timeout: float) -> None:
        self._named = base_at(url) if url else None
        self._timeout = timeout
        self._client = Client()
        self._tokenizer = Tokenizer(self._client)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def version(self, model: str) -> str:
        """See ``TokenCounter.version``. Engines do not tell which tokenizer they have; the model in the scope stands for it."""
        return "endpoint"

    async def count(self, model: str, prompt: Prompt, after: int, read: int, points: Sequence[Breakpoint]) -> list[int]:
        """See ``TokenCounter.count``."""
        endpoint = prompt.endpoint
        if self._named is not None:
            engine, name = self._named, model
        elif endpoint is not None:
            engine, name = Service(endpoint), endpoint.models.get(model, model)
        else:
            raise CountFailed("tokenizer_unreachable", "no endpoint serves the model")
        counts: list[int] = []
        for point in points:
            request = chat_up_to(prompt, point.block, name)
            try:
                tokens = await self._tokenizer.tokens(engine, request, "", self._timeout)
            except CallFailed as error:
                raise CountFailed("tokenize_failed", str(error)) from None
            counts.append(max(len(tokens), counts[-1] if counts else read))
        return counts


# --- the chat up to a block ------------------------------------------------------------------------------------------


def chat_up_to(prompt: Prompt, last: int, model: str) -> TokenizeRequest:
    """What an engine is asked: the prompt up to and with block ``last``."""
    blocks = prompt.blocks[: last + 1]
    if blocks[last].role == TOOL_DEFINITION:
        # No message yet, and a template renders nothing without one.
        text = "\n".join(block.text for block in blocks)
        return TokenizeRequest(orjson.dumps({"model": model, "prompt": text}), text)
    document: dict[str, Any] = {"model": model, "add_generation_prompt": False}
    tools = [block.value for block in blocks if block.role == TOOL_DEFINITION]
    if tools:
        document["tools"] = tools if prompt.api is CHAT else [_tool(tool) for tool in tools]
    document["messages"] = _originals(prompt, blocks[last]) if prompt.api is CHAT else _texts(blocks)
    try:
        body = orjson.dumps(document)
    except orjson.JSONEncodeError as error:
        raise CountFailed("tokenize_failed", str(error)) from None
    return TokenizeRequest(outgoing(CHAT, body, markers=True, telemetry=None, include_usage=False))


def _originals(prompt: Prompt, last: Block) -> list[Any]:
    """The messages of a chat as they are; the one with the mark up to the mark."""
    messages = prompt.document["messages"]
    where, number, *inside = last.place
    assert isinstance(number, int)  # noqa: S101 - places of messages and calls begin with a number
    message = messages[number]
    if inside:
        cut = int(inside[0]) + 1
        if where == "tool_calls":
            message = {**message, "tool_calls": message["tool_calls"][:cut]}
        elif cut < len(message["content"]):
            message = {key: value for key, value in message.items() if key != "tool_calls"}
            message["content"] = message["content"][:cut]
    return [*messages[:number], message]


def _texts(blocks: Sequence[Block]) -> list[dict[str, str]]:
    """Messages of plain texts, for an API that engines do not tokenize: one for each run of blocks of one message."""
    messages: list[dict[str, str]] = []
    before: tuple[str | int, ...] = ()
    for block in blocks:
        if block.role == TOOL_DEFINITION:
            continue
        text = block.text or _json(block.value)
        if before == block.place[:2]:
            messages[-1]["content"] += text
        else:
            messages.append({"role": block.role if block.role in ("system", "assistant") else "user", "content": text})
        before = block.place[:2]
    return messages


def _json(value: Any) -> str:
    """A call or its result as text; what is no text (an image) is not counted."""
    if type(value) is not dict or value.get("type") not in ("tool_use", "tool_result", "function_call_output"):
        return ""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return ""


def _tool(tool: Any) -> Any:
    """A tool of the other APIs in the form that engines take."""
    if type(tool) is not dict or not isinstance(tool.get("name"), str):
        return tool
    parameters = tool.get("input_schema") or tool.get("parameters") or {}
    function = {"name": tool["name"], "description": tool.get("description", ""), "parameters": parameters}
    return {"type": "function", "function": function}
