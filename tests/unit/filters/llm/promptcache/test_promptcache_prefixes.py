"""Hashes of prefixes: the golden values, what changes them and what does not, and which are looked up."""

from __future__ import annotations

from typing import Any

from pixiu_py.filters.llm.promptcache.blocks import MESSAGES, Breakpoint
from pixiu_py.filters.llm.promptcache.prefixes import all_candidates, candidates, hashes
from tests.fakes.promptcache import BILLING, chat, mark, parsed, system, text, user

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


def of(document: dict[str, Any], **options: Any) -> list[str]:
    return [hash_.hex() for hash_ in hashes(parsed(document, **options)[0])]


def test_the_golden_hashes_of_a_system_prompt() -> None:
    document = chat(system(text("a long static system prompt", "1h")), {"role": "user", "content": "hello"})
    assert of(document) == [
        "151ff154b1895ee9729eb411fddfee201bd07735f520f3bca54ee327e9984f7b",
        "ac52b1814537291913502237428f2e9b56412b292d708fbace58167a3b892634",
    ]


def test_the_golden_hashes_of_tools_and_calls() -> None:
    document = chat(
        {"role": "user", "content": "héllo \n"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "out"},
        tools=[TOOL],
    )
    assert of(document) == [
        "3710e40cb476f490a0a168aa75e5e133e8a6eec060c07a6b81dc4657779c3ae9",
        "6999edd5f8184f0f766cd4f02c6a443e6615f5ac00c535a7e4a9120ff0499f05",
        "916a2a2a2ec2bec4f6ffa5cc6e90a537034a2387000af23811b94e501f75808a",
        "d6ed795ec432bc113d59d3a898c26d32139a1c66242288cdb72d021fc9100279",
    ]


def test_each_block_changes_the_hash() -> None:
    found = of(chat(user(text("a"), text("a"), text("a"))))
    assert len(set(found)) == 3


def test_a_marker_changes_no_hash_wherever_it_is() -> None:
    plain = chat(user(text("a")), {"role": "assistant", "tool_calls": [CALL]}, tools=[TOOL])
    marked = chat(
        user(text("a", "1h")),
        {"role": "assistant", "tool_calls": [{**CALL, "cache_control": mark()}]},
        tools=[{"cache_control": mark(), **TOOL}],
    )
    assert of(plain) == of(marked)


def test_the_order_of_keys_changes_no_hash() -> None:
    assert of(chat(user({"text": "a", "type": "text"}))) == of(chat(user(text("a"))))


def test_a_property_of_that_name_further_inside_belongs_to_the_block() -> None:
    tools = [{**TOOL, "function": {"name": "f", "parameters": {"cache_control": kind}}} for kind in ("a", "b")]
    assert of(chat(tools=tools[:1])) != of(chat(tools=tools[1:]))


def test_a_string_hashes_as_the_one_part_that_it_is() -> None:
    assert of(chat({"role": "user", "content": "a"})) == of(chat(user(text("a"))))
    assert of(chat({"role": "user", "content": "a"})) != of(chat(user({**text("a"), "more": 1})))


def test_roles_and_contents_differ() -> None:
    assert of(chat(user(text("a")))) != of(chat(system(text("a"))))
    assert of(chat(user(text("a")))) != of(chat(user(text("b"))))
    one, other = ({**CALL, "id": name} for name in ("c1", "c2"))
    assert of(chat({"role": "assistant", "tool_calls": [one]})) != of(
        chat({"role": "assistant", "tool_calls": [other]})
    )


def test_a_tool_in_front_changes_all_that_follow() -> None:
    assert set(of(chat(user(text("a"))))).isdisjoint(of(chat(user(text("a")), tools=[TOOL])))


def test_a_conversation_that_has_grown_keeps_the_hashes_it_had() -> None:
    before = chat(user(text("a")), {"role": "assistant", "content": "b"}, cache_control=mark())
    after = chat(*before["messages"], user(text("c")), cache_control=mark())
    assert of(after)[:2] == of(before)


def test_a_nonce_of_bookkeeping_changes_no_hash() -> None:
    one, other = (chat(system(text(f"{BILLING} nonce={nonce}"), text("be good", ""))) for nonce in (1, 2))
    assert of(one) == of(other)


def test_texts_hash_alike_in_both_apis() -> None:
    messages = {"system": "be good", "messages": [user(text("a"))]}
    assert of(messages, api=MESSAGES) == of(chat(system(text("be good")), user(text("a"))))


def test_an_earlier_breakpoint_is_looked_for_twenty_blocks_back() -> None:
    """The marked block itself is the first of the twenty."""
    found = [bytes([number]) for number in range(25)]
    assert candidates(found, 24) == found[5:][::-1]
    assert candidates(found, 3) == found[:4][::-1]


def test_candidates_of_several_breakpoints_are_asked_for_once() -> None:
    found = [bytes([number]) for number in range(25)]
    asked = all_candidates(found, [Breakpoint(3, "5m"), Breakpoint(5, "1h")])
    assert sorted(asked) == found[:6]
    assert len(all_candidates([bytes([n]) for n in range(100)], [Breakpoint(n, "5m") for n in (24, 49, 74, 99)])) == 80
