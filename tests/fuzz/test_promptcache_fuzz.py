"""Any body is read without raising and means the same twice; any answer, however cut, changes in its usage and nowhere else."""

from __future__ import annotations

import asyncio
import gzip
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixiu_py.filters.llm import dialect
from pixiu_py.filters.llm.promptcache.account import Account
from pixiu_py.filters.llm.promptcache.blocks import CHAT, MESSAGES, RESPONSES, Api
from pixiu_py.filters.llm.promptcache.classify import Outcome
from pixiu_py.filters.llm.promptcache.document import told_document
from pixiu_py.filters.llm.promptcache.events import EventBody
from pixiu_py.filters.llm.promptcache.markers import MAX_BREAKPOINTS, MarkerError
from pixiu_py.filters.llm.promptcache.outgoing import outgoing, telemetry_places
from pixiu_py.filters.llm.promptcache.prefixes import all_candidates, hashes
from pixiu_py.filters.llm.promptcache.usage import Split
from pixiu_py.http.body import Sink
from pixiu_py.http.inflate import Inflater
from tests.fakes.exchange import ListSink
from tests.fakes.promptcache import BILLING, TELEMETRY, parsed

APIS = st.sampled_from([CHAT, MESSAGES, RESPONSES])
DIALECTS = {"chat": dialect.CHAT, "messages": dialect.MESSAGES, "responses": dialect.RESPONSES}

# --- bodies ----------------------------------------------------------------------------------------------------------

MARKERS = st.sampled_from(
    [None, {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}, {"type": "ephemeral", "ttl": "2h"}, {}, 5, "x"]
)
KEYS = st.sampled_from(
    ["type", "text", "role", "content", "cache_control", "tool_calls", "x", "é", "", '"', "messages"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=4) | MARKERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
PARTS = VALUES | st.fixed_dictionaries(
    {"type": st.just("text"), "text": st.sampled_from(["a", "b", BILLING])}, optional={"cache_control": MARKERS}
)
CONTENTS = st.text(max_size=4) | st.lists(PARTS, max_size=4) | VALUES
MESSAGE = VALUES | st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": CONTENTS},
    optional={"tool_calls": st.lists(PARTS, max_size=2), "cache_control": MARKERS},
)
BODIES = st.fixed_dictionaries(
    {"model": st.just("m")},
    optional={
        "messages": st.lists(MESSAGE, max_size=4) | VALUES,
        "input": st.lists(MESSAGE, max_size=4) | VALUES,
        "tools": st.lists(PARTS, max_size=3) | VALUES,
        "system": CONTENTS,
        "instructions": CONTENTS,
        "cache_control": MARKERS,
        "stream_options": VALUES,
        "x": VALUES,
    },
)


def unmarked(api: Api, document: dict[str, Any]) -> dict[str, Any]:
    """The document without the markers that are one: the rule, said with a parser."""

    def bare(value: Any) -> Any:
        return (
            {key: item for key, item in value.items() if key != "cache_control"} if isinstance(value, dict) else value
        )

    def each(values: Any) -> Any:
        return [bare(value) for value in values] if isinstance(values, list) else values

    def message(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        changed = dict(value)
        for key in ("content", "tool_calls") if api is CHAT else ("content",):
            if key in changed:
                changed[key] = each(changed[key])
        return bare(changed) if api is RESPONSES else changed

    changed = bare(document)
    lists = {"tools": each, "messages" if api is not RESPONSES else "input": lambda values: [*map(message, values)]}
    if api is MESSAGES:
        lists["system"] = each
    return {
        key: lists[key](value) if key in lists and isinstance(value, list) else value for key, value in changed.items()
    }


@given(APIS, BODIES)
def test_a_body_is_read_without_raising_and_means_the_same_twice(api: Api, document: dict[str, Any]) -> None:
    """Whatever the order of its keys; a marker that cannot be followed is said to be one, and nothing else is."""
    other = orjson.loads(orjson.dumps(document, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2))
    try:
        blocks, points = parsed(document, api)
    except MarkerError:
        with pytest.raises(MarkerError, match="cache_control"):
            parsed(other, api)
        return
    found = hashes(blocks)
    assert found == hashes(parsed(other, api)[0])
    assert len(points) <= MAX_BREAKPOINTS
    assert len(set(found)) == len(found) == len(blocks)
    assert set(all_candidates(found, points)) <= set(found)
    assert all(isinstance(block.text, str) for block in blocks)


@given(APIS, BODIES, st.booleans())
def test_a_body_goes_on_without_its_markers_and_otherwise_as_it_was(
    api: Api, document: dict[str, Any], indented: bool
) -> None:
    body = orjson.dumps(document, option=orjson.OPT_INDENT_2 if indented else None)
    sent = outgoing(api, body, markers=True, telemetry=None, include_usage=False)
    assert orjson.loads(sent) == unmarked(api, document)
    assert outgoing(api, sent, markers=True, telemetry=None, include_usage=False) == sent
    left = iter(body)
    assert all(byte in left for byte in sent), "bytes are taken away, none is added or moved"


@given(APIS, BODIES)
def test_what_is_sent_hashes_like_what_came(api: Api, document: dict[str, Any]) -> None:
    """Markers and bookkeeping are no part of a prompt."""
    body = orjson.dumps(document)
    places = telemetry_places(api, document, TELEMETRY)
    sent = orjson.loads(outgoing(api, body, markers=True, telemetry=places, include_usage=False))
    before = [(block.role, block.value) for block in api.blocks(unmarked(api, document), TELEMETRY)]
    assert [(block.role, block.value) for block in api.blocks(sent, TELEMETRY)] == before


@given(BODIES)
def test_a_stream_is_asked_for_its_usage_and_nothing_else_changes(document: dict[str, Any]) -> None:
    sent = orjson.loads(outgoing(CHAT, orjson.dumps(document), markers=False, telemetry=None, include_usage=True))
    options = document.pop("stream_options", None)
    asked = sent.pop("stream_options")
    assert asked == ({**options, "include_usage": True} if isinstance(options, dict) else {"include_usage": True})
    assert sent == document


# --- answers ---------------------------------------------------------------------------------------------------------

COUNTS = st.integers(0, 10**6) | st.none() | st.just("x") | st.just(-1)
USAGES = st.dictionaries(
    st.sampled_from(
        ["prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "cache_read_input_tokens", "x"]
    ),
    COUNTS,
    max_size=4,
)
ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "usage": USAGES | VALUES,
        "message": st.fixed_dictionaries({"usage": USAGES}) | VALUES,
        "response": st.fixed_dictionaries({"usage": USAGES, "error": st.none()}) | VALUES,
        "choices": st.lists(st.fixed_dictionaries({"finish_reason": st.sampled_from([None, "stop"])}), max_size=1),
        "error": VALUES,
        "x": VALUES,
        "type": st.sampled_from(["message_start", "message_delta", "response.completed", "x"]),
    },
)
SPLITS = st.builds(Split, *[st.integers(0, 1000)] * 4)


def account(api: Api, split: Split) -> Account:
    made = Account(api, {}, "alice", "m")
    made.is_active = True

    class Known:
        def done(self) -> bool:
            return True

        def cancelled(self) -> bool:
            return False

        def exception(self) -> None:
            return None

        def result(self) -> Outcome:
            return Outcome(split)

    made.task = Known()  # type: ignore[assignment]
    return made


def blanked(document: Any) -> Any:
    """The document with its usage objects, in the places of all APIs, made empty."""
    if not isinstance(document, dict):
        return document
    changed = dict(document)
    if isinstance(changed.get("usage"), dict):
        changed["usage"] = {}
        return changed
    for key in ("message", "response"):
        below = changed.get(key)
        if isinstance(below, dict) and isinstance(below.get("usage"), dict):
            changed[key] = {**below, "usage": {}}
            return changed
    return changed


@given(APIS, ANSWERS, SPLITS, st.booleans())
def test_a_document_changes_in_its_usage_only(api: Api, document: dict[str, Any], split: Split, indented: bool) -> None:
    content = orjson.dumps(document, option=orjson.OPT_INDENT_2 if indented else None)
    said = orjson.loads(told_document(account(api, split), content))
    if not isinstance(document.get("usage"), dict):
        assert said == document
        return
    assert {**said, "usage": {}} == {**document, "usage": {}}
    usage = said["usage"]
    total = usage.get("prompt_tokens")
    if api is CHAT and isinstance(total, int) and total >= 0:
        assert usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"] <= total
    if api is MESSAGES:
        assert not isinstance(usage.get("input_tokens"), int) or usage["input_tokens"] >= -1


@given(st.binary(max_size=60), SPLITS)
def test_any_bytes_are_passed_on(content: bytes, split: Split) -> None:
    said = told_document(account(CHAT, split), content)
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        assert said is content
    else:
        assert blanked(orjson.loads(said)) == blanked(document)


class Cut:
    """A body in pieces."""

    length: int | None = None

    def __init__(self, content: bytes, places: list[int]) -> None:
        ends = sorted({0, *(place % (len(content) + 1) for place in places), len(content)})
        self.pieces = [content[begin:end] for begin, end in pairwise(ends)]

    async def pipe(self, sink: Sink) -> None:
        for piece in self.pieces:
            if not sink.write(piece):
                await sink.drain()
        sink.finish()

    def abort(self) -> None:
        """Nothing to let go of."""


async def piped(api: Api, body: Cut, split: Split, inflater: Inflater | None = None) -> bytes:
    sink = ListSink()
    await EventBody(body, account(api, split), DIALECTS[api.name], 2**20, 1.0, inflater).pipe(sink)
    return sink.content


EVENTS = st.lists(
    st.one_of(
        ANSWERS.map(lambda document: b"data: %b" % orjson.dumps(document)),
        ANSWERS.map(lambda document: b"event: x\ndata:%b\nid: 1" % orjson.dumps(document)),
        ANSWERS.map(
            lambda document: b"data: " + orjson.dumps(document, option=orjson.OPT_INDENT_2).replace(b"\n", b"\ndata: ")
        ),
        st.sampled_from(
            [b": comment", b"data: [DONE]", b"retry: 5", b"", b'data: {"usage":{', b'data: "usage":{}', b"data"]
        ),
    ),
    max_size=5,
)
PLACES = st.lists(st.integers(0, 10_000), max_size=8)


def events_of(stream: bytes) -> list[tuple[list[bytes], Any]]:
    """Each event: its lines that are no data, and its data, parsed if it can be, without its usage."""
    found = []
    for event in stream.replace(b"\r\n", b"\n").split(b"\n\n"):
        lines = event.split(b"\n")
        data = [line[5:].removeprefix(b" ") if line[4:5] else b"" for line in lines if line[:5] in (b"data:", b"data")]
        try:
            content = blanked(orjson.loads(b"\n".join(data)))
        except orjson.JSONDecodeError:
            content = data
        found.append(([line for line in lines if line[:5] not in (b"data:", b"data")], content))
    return found


@given(APIS, EVENTS, SPLITS, PLACES, st.sampled_from([b"\n", b"\r\n"]))
def test_a_stream_changes_in_its_usage_only_wherever_it_is_cut(
    api: Api, events: list[bytes], split: Split, places: list[int], end: bytes
) -> None:
    stream = b"".join(event + b"\n\n" for event in events).replace(b"\n", end)
    said = asyncio.run(piped(api, Cut(stream, places), split))
    assert said == asyncio.run(piped(api, Cut(stream, []), split)), "where it is cut makes no difference"
    assert events_of(said) == events_of(stream)
    if b'"usage"' not in stream:
        assert said == stream


@given(st.binary(max_size=80), PLACES)
def test_any_bytes_are_a_stream(content: bytes, places: list[int]) -> None:
    assert asyncio.run(piped(CHAT, Cut(content, places), Split(1))) == content


@given(EVENTS, PLACES)
def test_a_compressed_stream_says_what_it_says_uncompressed(events: list[bytes], places: list[int]) -> None:
    stream = b"".join(event + b"\n\n" for event in events)
    plain = asyncio.run(piped(CHAT, Cut(stream, []), Split(1)))
    packed = Cut(gzip.compress(stream, mtime=0), places)
    assert asyncio.run(piped(CHAT, packed, Split(1), Inflater("gzip", 10**6))) == plain
