"""What a prompt consists of, in each API, and where its breakpoints are."""

from __future__ import annotations

from typing import Any

import pytest

from pixiu_py.filters.llm.promptcache.blocks import CHAT, MESSAGES, RESPONSES, Telemetry, api_of, read
from pixiu_py.filters.llm.promptcache.markers import MarkerError
from tests.fakes.promptcache import ALL_TIERS, BILLING, TELEMETRY, USUAL_TIERS, chat, mark, parsed, system, text, user

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


def assistant(*calls: Any, content: Any = None) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def marked(value: dict[str, Any], ttl: str = "") -> dict[str, Any]:
    return {**value, "cache_control": mark(ttl)}


def points(document: dict[str, Any], **options: Any) -> list[tuple[int, str]]:
    return [tuple(point) for point in parsed(document, **options)[1]]


def reason(document: dict[str, Any], tiers: Any = ALL_TIERS) -> str:
    with pytest.raises(MarkerError) as refused:
        parsed(document, tiers=tiers)
    return refused.value.reason


@pytest.mark.parametrize(
    ("path", "api"),
    [
        ("/v1/chat/completions", CHAT),
        ("/ai/v1/chat/completions", CHAT),
        ("/v1/messages", MESSAGES),
        ("/v1/responses", RESPONSES),
        ("/v1/completions", None),
        ("/v1/embeddings", None),
        ("/v1/messages/count_tokens", None),
    ],
)
def test_the_api_of_a_path(path: str, api: Any) -> None:
    assert api_of(path) is api


# --- blocks ----------------------------------------------------------------------------------------------------------


def test_tools_come_first_then_messages_as_sent_and_calls_after_the_content() -> None:
    document = chat(user(text("a"), text("b")), assistant(CALL, content="said"), system(text("late")), tools=[TOOL])
    assert [block.role for block in parsed(document)[0]] == [
        "tool_definition", "user", "user", "assistant", "tool_call", "system",
    ]  # fmt: skip


@pytest.mark.parametrize("content", [None, [], 5, {}])
def test_what_is_no_content_makes_no_block(content: Any) -> None:
    assert parsed(chat({"role": "user", "content": content}, {"role": "user"}, "no message"))[0] == []


def test_an_empty_string_is_a_block() -> None:
    blocks, _ = parsed(chat({"role": "user", "content": ""}))
    assert [(block.role, block.value) for block in blocks] == [("user", text(""))]


def test_parts_of_any_kind_are_blocks() -> None:
    parts = [{"type": "image_url", "image_url": {"url": "u"}}, {"type": "new"}, "bare", 5, None]
    assert [block.value for block in parsed(chat(user(*parts)))[0]] == parts


def test_a_role_that_is_no_text_is_empty() -> None:
    assert [block.role for block in parsed(chat({"content": "a"}, {"role": 5, "content": "b"}))[0]] == ["", ""]


def test_calls_count_for_the_assistant_only() -> None:
    message = {**assistant(marked(CALL)), "role": "user"}
    assert parsed(chat(message)) == ([], [])


def test_anthropic_bodies_have_their_system_prompt_between_tools_and_messages() -> None:
    document = {
        "system": [text("be good", "1h")],
        "tools": [{"name": "f", "input_schema": {}}],
        "messages": [user(text("hi")), {"role": "assistant", "content": "hello"}],
    }
    blocks, found = parsed(document, api=MESSAGES)
    assert [block.role for block in blocks] == ["tool_definition", "system", "user", "assistant"]
    assert found == [(1, "1h")]


def test_an_anthropic_system_prompt_may_be_a_string() -> None:
    blocks, _ = parsed({"system": "be good", "messages": []}, api=MESSAGES)
    assert [(block.role, block.value) for block in blocks] == [("system", text("be good"))]


def test_responses_have_instructions_and_items() -> None:
    document = {
        "instructions": "be good",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "hi", "cache_control": mark()}]},
            {"type": "function_call", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "output": "x", "cache_control": mark("1h")},
            {"role": "assistant", "content": "said"},
        ],
    }
    blocks, found = parsed(document, api=RESPONSES)
    assert [block.role for block in blocks] == ["system", "user", "tool_call", "", "assistant"]
    assert found == [(1, "5m"), (3, "1h")]


def test_responses_take_a_string() -> None:
    blocks, _ = parsed({"input": "hi"}, api=RESPONSES)
    assert [(block.role, block.value) for block in blocks] == [("user", {"type": "input_text", "text": "hi"})]


def test_text_of_a_block_is_what_is_counted() -> None:
    """An image has none; a definition and a call are counted as their JSON, without the marker."""
    document = chat(user(text("hi"), {"type": "image_url"}), assistant(marked(CALL)), tools=[marked({"b": 1, "a": 2})])
    texts = [block.text for block in parsed(document)[0]]
    assert texts[:3] == ['{"b":1,"a":2}', "hi", ""]
    assert "cache_control" not in texts[3]


# --- breakpoints -----------------------------------------------------------------------------------------------------


def test_without_markers_there_are_blocks_and_no_breakpoints() -> None:
    blocks, found = parsed(chat(user(text("a"))))
    assert (len(blocks), found) == (1, [])


@pytest.mark.parametrize(("ttl", "tier"), [("", "5m"), ("5m", "5m"), ("1h", "1h"), ("24h", "24h")])
def test_a_marked_block_is_a_breakpoint(ttl: str, tier: str) -> None:
    assert points(chat(user(text("a"), text("b", ttl)))) == [(1, tier)]


def test_tools_calls_and_parts_can_be_marked() -> None:
    document = chat(user(text("a", "")), assistant(marked(CALL, "1h")), tools=[marked(TOOL, "24h")])
    assert points(document) == [(0, "24h"), (1, "5m"), (2, "1h")]


def test_a_marker_on_a_message_or_further_inside_is_not_read() -> None:
    part = {"type": "tool_result", "content": [text("x", "1h")]}
    assert points(chat({**user(part), "cache_control": mark()})) == []


def test_null_marks_nothing() -> None:
    assert points(chat(user({**text("a"), "cache_control": None}), cache_control=None)) == []


def test_four_are_the_most_wherever_they_are() -> None:
    parts = [text("p", "")] * 2
    assert len(points(chat(user(*parts), assistant(marked(CALL)), tools=[marked(TOOL)]))) == 4
    assert reason(chat(user(*parts), assistant(marked(CALL)), tools=[marked(TOOL)] * 2)) == "too_many_breakpoints"


def test_a_disabled_tier_is_refused_on_a_tool_too() -> None:
    assert reason(chat(tools=[marked(TOOL, "24h")]), USUAL_TIERS) == "tier_disabled"


# --- automatic -------------------------------------------------------------------------------------------------------


def test_the_automatic_marker_is_one_on_the_last_block() -> None:
    assert points(chat(user(text("a"), text("b")), cache_control=mark("1h"))) == [(1, "1h")]


@pytest.mark.parametrize(
    "last",
    [
        assistant(CALL),
        {"role": "tool", "tool_call_id": "c1", "content": "out"},
        user({"type": "image_url", "image_url": {"url": "u"}}),
    ],
    ids=["call", "result", "image"],
)
def test_it_lands_on_whatever_is_last(last: dict[str, Any]) -> None:
    assert points(chat(user(text("a")), last, cache_control=mark())) == [(1, "5m")]


def test_a_last_message_without_blocks_is_passed_over() -> None:
    assert points(chat(user(text("a")), {"role": "assistant", "content": None}, cache_control=mark())) == [(0, "5m")]


def test_telemetry_at_the_end_is_passed_over() -> None:
    assert points(chat(user(text("a")), system(text(BILLING + " x")), cache_control=mark())) == [(0, "5m")]


def test_it_adds_to_explicit_ones() -> None:
    assert points(chat(user(text("a", "1h"), text("b")), cache_control=mark())) == [(0, "1h"), (1, "5m")]


def test_the_same_tier_twice_is_one() -> None:
    assert points(chat(user(text("a", "1h")), cache_control=mark("1h"))) == [(0, "1h")]


def test_two_tiers_for_one_block_contradict_each_other() -> None:
    assert reason(chat(user(text("a", "1h")), cache_control=mark())) == "automatic_ttl_conflict"


def test_four_explicit_ones_leave_no_slot() -> None:
    parts = [text("p", "")] * 4
    assert reason(chat(user(*parts, text("last")), cache_control=mark())) == "automatic_no_slot"
    assert len(points(chat(user(*parts), cache_control=mark()))) == 4, "the last one is marked already"


def test_without_blocks_there_is_nothing_to_mark() -> None:
    assert points(chat(cache_control=mark())) == []


@pytest.mark.parametrize(
    ("marker", "why"), [(5, "malformed_cache_control"), ({"type": "ephemeral", "ttl": "24h"}, "tier_disabled")]
)
def test_it_is_held_to_the_rules_of_every_marker(marker: Any, why: str) -> None:
    assert reason(chat(user(text("a")), cache_control=marker), USUAL_TIERS) == why


# --- telemetry -------------------------------------------------------------------------------------------------------


def test_bookkeeping_in_a_system_message_is_no_block() -> None:
    blocks, _ = parsed(chat(system(text(f"  {BILLING} nonce=1"), text("be good"))))
    assert [block.text for block in blocks] == ["be good"]
    blocks, _ = parsed({"system": [text(f"{BILLING} nonce=1"), text("be good")]}, api=MESSAGES)
    assert [block.text for block in blocks] == ["be good"]


def test_elsewhere_it_is_text() -> None:
    assert len(parsed(chat(user(text(BILLING)), {"role": "system", "content": BILLING}))[0]) == 2


def test_a_marked_part_is_never_bookkeeping() -> None:
    assert points(chat(system(text(BILLING, "")))) == [(0, "5m")]


def test_empty_prefixes_match_nothing_and_an_empty_list_turns_it_off() -> None:
    for prefixes in ([""], []):
        telemetry = Telemetry(prefixes)
        assert not telemetry(text("anything"))
        assert not telemetry.is_in(b"anything")
        assert len(read(CHAT, chat(system(text(BILLING))), ALL_TIERS, telemetry)[0]) == 1


def test_a_quick_look_tells_when_there_is_none() -> None:
    assert TELEMETRY.is_in(b'{"text":"x-anthropic-billing-header: 1"}')
    assert not TELEMETRY.is_in(b"{}")
