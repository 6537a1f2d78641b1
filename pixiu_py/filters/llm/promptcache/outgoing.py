"""The body that an endpoint gets: without markers and bookkeeping, asked for its usage; every other byte the client's. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from pixiu_py.filters.llm.promptcache.blocks import CHAT, MESSAGES, RESPONSES, Api, Telemetry
from pixiu_py.filters.llm.promptcache.markers import MARKER
from pixiu_py.http.json_spans import Container, Edit, Shape, apply, find, without

_TOP, _MARKED, _PARTS, _OPTIONS = "top", "marked", "parts", "options"
_USAGE = "include_usage"
_KEY = MARKER.encode()
_STREAM_OPTIONS = "stream_options"

_OBJECT = Shape(_MARKED, needs=_KEY)
_LIST = Shape(each=_OBJECT)
_CONTENT = Shape(_PARTS, each=_OBJECT)
#: Where markers stand, for each API: exactly there, so that a property of that name in a schema survives.
_SHAPES = {
    CHAT.name: Shape(
        _TOP,
        {
            "tools": _LIST,
            "messages": Shape(each=Shape(members={"content": _CONTENT, "tool_calls": _LIST})),
            _STREAM_OPTIONS: Shape(_OPTIONS),
        },
    ),
    MESSAGES.name: Shape(
        _TOP, {"tools": _LIST, "system": _CONTENT, "messages": Shape(each=Shape(members={"content": _LIST}))}
    ),
    RESPONSES.name: Shape(
        _TOP,
        {"tools": _LIST, "input": Shape(each=Shape(_MARKED, needs=_KEY, members={"content": Shape(each=_OBJECT)}))},
    ),
}
#: Where the system prompt of a body can have parts: the container's place → positions of the parts to take away.
Places = dict[tuple[int, ...], set[int]]


def telemetry_places(api: Api, document: dict[str, Any], telemetry: Telemetry) -> Places:
    """The parts that are a client's bookkeeping. A message that is nothing else keeps it: an empty one may be refused."""
    places: Places = {}
    for place, content in _system_contents(api, document):
        found = {number for number, part in enumerate(content) if telemetry(part)}
        if found and len(found) < len(content):
            places[place] = found
    return places


def _system_contents(api: Api, document: dict[str, Any]) -> Iterator[tuple[tuple[int, ...], list[Any]]]:
    if api is MESSAGES:
        if type(document.get("system")) is list:
            yield (), document["system"]
        return
    messages = document.get("messages") if api is CHAT else None
    for number, message in enumerate(messages if type(messages) is list else ()):
        if type(message) is dict and message.get("role") == "system" and type(message.get("content")) is list:
            yield (number,), message["content"]


def without_usage_request(document: dict[str, Any]) -> bool:
    """True for a streaming chat request that does not ask for its usage."""
    if document.get("stream") is not True:
        return False
    options = document.get(_STREAM_OPTIONS)
    return options is None or (type(options) is dict and options.get(_USAGE) is not True)


def outgoing(api: Api, body: bytes, *, markers: bool, telemetry: Places | None, include_usage: bool) -> bytes:
    """``body`` without markers and telemetry, and asking for the usage of a stream, as far as each is wanted."""
    edits: list[Edit] = []
    options: Container | None = None
    top: Container | None = None
    for container in find(body, _SHAPES[api.name]):
        if container.tag == _OPTIONS:
            options = container if body.startswith(b"{", container.start) else None
        elif container.tag == _PARTS:
            edits += without(container, (telemetry or {}).get(container.place, ()))
        elif markers:
            edits += without(container, [n for n, item in enumerate(container.items) if item.key == MARKER])
        if container.tag == _TOP:
            top = container
    if include_usage and top is not None:
        edits += _asking(top, options)
    return apply(body, edits)


def _asking(top: Container, options: Container | None) -> Iterator[Edit]:
    """The edits that ask for usage. Of a key that stands there twice the last one counts, as parsers have it."""
    given = [item for item in top.items if item.key == _STREAM_OPTIONS]
    if not given:
        comma = b"," if top.items else b""
        yield Edit(
            top.start + 1, top.start + 1, b'"%b":{"%b":true}%b' % (_STREAM_OPTIONS.encode(), _USAGE.encode(), comma)
        )
    elif options is None or options.start != given[-1].value:
        yield Edit(given[-1].value, given[-1].end, orjson.dumps({_USAGE: True}))
    else:
        flags = [item for item in options.items if item.key == _USAGE]
        if flags:
            yield Edit(flags[-1].value, flags[-1].end, b"true")
        else:
            comma = b"," if options.items else b""
            yield Edit(options.start + 1, options.start + 1, b'"%b":true%b' % (_USAGE.encode(), comma))
