"""What goes on to an endpoint: the client's bytes without markers, and a stream asked for its usage."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pixiu_py.filters.llm.promptcache.blocks import CHAT, MESSAGES, RESPONSES, Api
from pixiu_py.filters.llm.promptcache.outgoing import outgoing, telemetry_places, without_usage_request
from tests.fakes.promptcache import BILLING, MARK, TELEMETRY, chat, system, text, user

CALL = {"id": "c1", "function": {"name": "f", "arguments": '{"cache_control":1}'}}


def stripped(document: Any, api: Api = CHAT) -> Any:
    return orjson.loads(outgoing(api, orjson.dumps(document), markers=True, telemetry=None, include_usage=False))


def asked(body: bytes) -> bytes:
    return outgoing(CHAT, body, markers=False, telemetry=None, include_usage=True)


def test_every_byte_that_is_no_marker_stays() -> None:
    body = (
        b'{ "n":1e400 ,"cache_control": {"type":"ephemeral"} , "messages":[ {"role" : "user","content":[{"type":"text",'
        b'"text":"a\\u0041", "cache_control":{"type":"ephemeral","ttl":"1h"}} ,\n {"text":"b" } ]}],"n":12345678901234567890}'
    )
    assert outgoing(CHAT, body, markers=True, telemetry=None, include_usage=False) == (
        b'{ "n":1e400 ,"messages":[ {"role" : "user","content":[{"type":"text",'
        b'"text":"a\\u0041"} ,\n {"text":"b" } ]}],"n":12345678901234567890}'
    )


def test_nothing_to_do_gives_the_same_object() -> None:
    body = b'{"messages": []}'
    assert outgoing(CHAT, body, markers=True, telemetry=None, include_usage=False) is body


def test_markers_are_taken_from_every_place_that_can_have_one() -> None:
    document = chat(
        user(text("a", ""), {"type": "x", "cache_control": None}),
        {"role": "user", "content": None, "tool_calls": [{**CALL, "cache_control": MARK}]},
        tools=[{"type": "function", "cache_control": MARK}],
        cache_control=MARK,
    )
    assert stripped(document) == chat(
        user(text("a"), {"type": "x"}),
        {"role": "user", "content": None, "tool_calls": [CALL]},
        tools=[{"type": "function"}],
    )


def test_a_property_of_that_name_in_a_schema_survives() -> None:
    schema = {"type": "object", "properties": {"cache_control": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    assert stripped(chat(tools=[{**tool, "cache_control": MARK}])) == chat(tools=[tool])
    assert stripped(chat(tools=[tool])) == chat(tools=[tool])


def test_a_message_keeps_what_only_looks_like_a_marker() -> None:
    document = chat({**user({"type": "tool_result", "content": [text("a", "")]}), "cache_control": MARK})
    assert stripped(document) == document


def test_anthropic_bodies() -> None:
    document = {
        "system": [text("a", "1h")],
        "messages": [user(text("b", ""))],
        "tools": [{"name": "f", "cache_control": MARK}],
    }
    assert stripped(document, MESSAGES) == {
        "system": [text("a")],
        "messages": [user(text("b"))],
        "tools": [{"name": "f"}],
    }


def test_responses_bodies() -> None:
    document = {"input": [user(text("b", "")), {"type": "function_call_output", "output": "x", "cache_control": MARK}]}
    assert stripped(document, RESPONSES) == {
        "input": [user(text("b")), {"type": "function_call_output", "output": "x"}]
    }


# --- telemetry -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", [CHAT, MESSAGES])
def test_bookkeeping_is_taken_out_of_the_prompt(api: Api) -> None:
    parts = [text(f"{BILLING} a"), text("be good"), text(f"{BILLING} b")]
    document = chat(system(*parts), user(text(BILLING))) if api is CHAT else {"system": parts, "messages": []}
    places = telemetry_places(api, document, TELEMETRY)
    body = outgoing(api, orjson.dumps(document), markers=True, telemetry=places, include_usage=False)
    left = (
        chat(system(text("be good")), user(text(BILLING)))
        if api is CHAT
        else {"system": [text("be good")], "messages": []}
    )
    assert orjson.loads(body) == left


def test_a_message_that_is_nothing_else_keeps_it() -> None:
    """Endpoints may refuse an empty one."""
    assert telemetry_places(CHAT, chat(system(text(BILLING))), TELEMETRY) == {}


def test_responses_have_no_place_for_it() -> None:
    assert telemetry_places(RESPONSES, {"input": [system(text(BILLING), text("a"))]}, TELEMETRY) == {}


def test_a_null_marker_of_a_part_that_goes_is_no_second_edit() -> None:
    document = chat(system({**text(BILLING), "cache_control": None}, text("a", "")))
    places = telemetry_places(CHAT, document, TELEMETRY)
    body = outgoing(CHAT, orjson.dumps(document), markers=True, telemetry=places, include_usage=False)
    assert orjson.loads(body) == chat(system(text("a")))


# --- usage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"stream":true}', b'{"stream_options":{"include_usage":true},"stream":true}'),
        (b'{"stream_options":null}', b'{"stream_options":{"include_usage":true}}'),
        (b'{"stream_options":{}}', b'{"stream_options":{"include_usage":true}}'),
        (b'{"stream_options": {"x":1}}', b'{"stream_options": {"include_usage":true,"x":1}}'),
        (b'{"stream_options":{"include_usage" : false}}', b'{"stream_options":{"include_usage" : true}}'),
        (b'{"stream_options":{"include_usage":{"a":1},"x":1}}', b'{"stream_options":{"include_usage":true,"x":1}}'),
        (
            b'{"stream_options":{},"stream_options":null}',
            b'{"stream_options":{},"stream_options":{"include_usage":true}}',
        ),
        (
            b'{"stream_options":null,"stream_options":{}}',
            b'{"stream_options":null,"stream_options":{"include_usage":true}}',
        ),
    ],
)
def test_a_stream_is_asked_for_its_usage(before: bytes, after: bytes) -> None:
    assert asked(before) == after
    assert orjson.loads(after)["stream_options"]["include_usage"] is True


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"stream": True}, True),
        ({"stream": True, "stream_options": None}, True),
        ({"stream": True, "stream_options": {"include_usage": False}}, True),
        ({"stream": True, "stream_options": {"include_usage": True}}, False),
        ({"stream": True, "stream_options": "no object: the endpoint's business"}, False),
        ({"stream": False}, False),
        ({}, False),
    ],
)
def test_who_has_to_be_asked(document: dict[str, Any], expected: bool) -> None:
    assert without_usage_request(document) is expected


def test_all_at_once() -> None:
    document = chat(system(text(BILLING), text("a", "")), stream=True, cache_control=MARK)
    places = telemetry_places(CHAT, document, TELEMETRY)
    body = outgoing(CHAT, orjson.dumps(document), markers=True, telemetry=places, include_usage=True)
    assert orjson.loads(body) == chat(system(text("a")), stream=True, stream_options={"include_usage": True})
