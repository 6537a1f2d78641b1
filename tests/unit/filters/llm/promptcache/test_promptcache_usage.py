"""What an answer says of its tokens, in the fields of each API, cut to what there is."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pixiu_py.filters.llm.promptcache.blocks import CHAT, MESSAGES, RESPONSES, Api
from pixiu_py.filters.llm.promptcache.usage import Split, counted, foreign, has_usage, replaced, scrubbed, told, totals
from pixiu_py.stores.ledger.cost import Tokens

SPLIT = Split(50, 20, 10, 5)


def tiers(five: int, hour: int, day: int) -> dict[str, int]:
    return {"ephemeral_5m_input_tokens": five, "ephemeral_1h_input_tokens": hour, "ephemeral_24h_input_tokens": day}


def test_a_tier_is_added_to() -> None:
    assert Split().plus("5m", 3).plus("24h", 2).plus("5m", 1) == Split(0, 4, 0, 2)
    assert SPLIT.written == 35
    assert Split() == Split(0, 0, 0, 0)


def test_chat_completions_say_it_in_both_families() -> None:
    said = told(CHAT, {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107}, SPLIT)
    assert said.usage == {
        "prompt_tokens": 100,
        "completion_tokens": 7,
        "total_tokens": 107,
        "prompt_tokens_details": {"cached_tokens": 50},
        "cache_read_input_tokens": 50,
        "cache_creation_input_tokens": 35,
        "cache_creation": tiers(20, 10, 5),
    }
    assert said.tokens == Tokens(100, 7, *SPLIT)
    assert not said.was_capped


def test_anthropic_input_tokens_are_what_is_left() -> None:
    """What the endpoint itself had read and written belongs to the input."""
    usage = {"input_tokens": 80, "cache_read_input_tokens": 15, "cache_creation_input_tokens": 5, "output_tokens": 7}
    said = told(MESSAGES, usage, SPLIT)
    assert said.usage == {
        "input_tokens": 15,
        "output_tokens": 7,
        "cache_read_input_tokens": 50,
        "cache_creation_input_tokens": 35,
        "cache_creation": tiers(20, 10, 5),
    }
    assert said.tokens == Tokens(100, 7, *SPLIT)


def test_the_last_word_of_an_anthropic_stream_tells_what_the_first_one_counted() -> None:
    said = told(MESSAGES, {"output_tokens": 7}, SPLIT, prompt=100)
    assert said.usage["input_tokens"] == 15
    assert said.tokens.prompt == 100


def test_responses_say_it_in_their_details() -> None:
    said = told(RESPONSES, {"input_tokens": 100, "input_tokens_details": {"x": 1}, "output_tokens": 7}, SPLIT)
    assert said.usage == {
        "input_tokens": 100,
        "input_tokens_details": {"x": 1, "cached_tokens": 50, "cache_write_tokens": 35},
        "output_tokens": 7,
    }


@pytest.mark.parametrize("api", [CHAT, MESSAGES, RESPONSES])
def test_more_than_the_input_takes_from_what_was_read(api: Api) -> None:
    key = "prompt_tokens" if api is CHAT else "input_tokens"
    said = told(api, {key: 80}, SPLIT)
    assert said.tokens == Tokens(80, 0, 45, 20, 10, 5)
    assert said.was_capped


def test_writes_that_are_too_many_alone_make_everything_zero() -> None:
    said = told(CHAT, {"prompt_tokens": 30}, SPLIT)
    assert said.tokens == Tokens(30)
    assert said.usage["cache_creation"] == tiers(0, 0, 0)


def test_equality_is_not_cut() -> None:
    assert told(CHAT, {"prompt_tokens": 85}, SPLIT).tokens == Tokens(85, 0, *SPLIT)


def test_without_an_input_nothing_is_cut() -> None:
    assert told(CHAT, {"completion_tokens": 1}, SPLIT).usage["cache_read_input_tokens"] == 50


def test_anthropic_input_is_never_negative() -> None:
    for prompt in range(120):
        assert told(MESSAGES, {"input_tokens": prompt}, SPLIT).usage["input_tokens"] >= 0


@pytest.mark.parametrize("details", [5, "x", [1]])
def test_details_that_are_none_are_left_alone(details: Any) -> None:
    assert (
        told(CHAT, {"prompt_tokens": 100, "prompt_tokens_details": details}, SPLIT).usage["prompt_tokens_details"]
        == details
    )


def test_details_that_are_null_are_made() -> None:
    usage = told(CHAT, {"prompt_tokens": 100, "prompt_tokens_details": None}, SPLIT).usage
    assert usage["prompt_tokens_details"] == {"cached_tokens": 50}


def test_nothing_that_the_endpoint_said_of_its_cache_is_left() -> None:
    usage = {
        "prompt_tokens": 100,
        "prompt_cache_hit_tokens": 9,
        "prompt_cache_miss_tokens": 9,
        "cache_discount": 0.5,
        "cache_read_input_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 9, "audio_tokens": 1},
    }
    said = told(CHAT, usage, Split()).usage
    assert said == {
        "prompt_tokens": 100,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 1},
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "cache_creation": tiers(0, 0, 0),
    }


def test_what_an_endpoint_says_of_its_own_cache() -> None:
    assert foreign(CHAT, {"prompt_tokens_details": {"cached_tokens": 7}}) == Split(7)
    assert foreign(CHAT, {"prompt_cache_hit_tokens": 7}) == Split(7)
    assert foreign(MESSAGES, {"cache_read_input_tokens": 7, "cache_creation_input_tokens": 3}) == Split(7, 3)
    assert foreign(MESSAGES, {"cache_creation": tiers(1, 2, 0), "cache_creation_input_tokens": 3}) == Split(0, 1, 2)
    assert foreign(RESPONSES, {"input_tokens_details": {"cached_tokens": 7}}) == Split(7)
    assert foreign(CHAT, {"prompt_tokens_details": None, "cache_creation": "x"}) == Split()


def test_the_whole_input_is_counted_in_every_api() -> None:
    assert totals(CHAT, {"prompt_tokens": 5, "completion_tokens": 2}) == Tokens(5, 2)
    assert totals(MESSAGES, {"input_tokens": 5, "cache_read_input_tokens": 3, "output_tokens": 2}) == Tokens(8, 2)
    assert totals(RESPONSES, {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 3}) == Tokens(5, 2)


@pytest.mark.parametrize("value", [None, "5", True, -1, float("nan"), float("inf"), 2**60, []])
def test_what_is_no_number_of_tokens_is_none(value: Any) -> None:
    assert counted(value) == 0


# --- scrubbing -------------------------------------------------------------------------------------------------------


def test_an_answer_that_is_not_accounted_for_can_be_scrubbed() -> None:
    usage = {
        "prompt_tokens": 9,
        "cache_discount": 1,
        "prompt_tokens_details": {"cached_tokens": 687, "audio_tokens": 1},
    }
    assert scrubbed(CHAT, usage) == {
        "prompt_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 1},
    }


@pytest.mark.parametrize("cached", ["5", 5.0, 0.0, None, True])
def test_a_count_of_another_type_is_scrubbed_too(cached: Any) -> None:
    assert scrubbed(CHAT, {"prompt_tokens_details": {"cached_tokens": cached}}) == {
        "prompt_tokens_details": {"cached_tokens": 0}
    }


def test_a_clean_usage_is_left_alone() -> None:
    for usage in ({"prompt_tokens": 1}, {"prompt_tokens_details": {"cached_tokens": 0}}, {"prompt_tokens_details": {}}):
        assert scrubbed(CHAT, usage) is None


def test_scrubbed_anthropic_input_is_whole() -> None:
    assert scrubbed(MESSAGES, {"input_tokens": 5, "cache_read_input_tokens": 3}) == {"input_tokens": 8}


# --- in its place ----------------------------------------------------------------------------------------------------


def test_only_the_usage_is_replaced() -> None:
    text = b'{ "a":1e400,"usage" : {"x":{"y":[1]}} ,"b":"\\"usage\\":{}" }'
    assert replaced(text, ("usage",), {"z": 1}) == b'{ "a":1e400,"usage" : {"z":1} ,"b":"\\"usage\\":{}" }'


def test_it_is_the_one_at_its_place() -> None:
    text = b'{"tool":{"usage":{"no":1}},"usage":{"a":1},"message":{"usage":{"b":1}}}'
    assert orjson.loads(replaced(text, ("usage",), {})) == {**orjson.loads(text), "usage": {}}
    changed = orjson.loads(replaced(text, ("message", "usage"), {}))
    assert changed == {**orjson.loads(text), "message": {"usage": {}}}


def test_of_two_equal_keys_the_last_one_counts() -> None:
    assert replaced(b'{"usage":{"a":1},"usage":{"b":1}}', ("usage",), {}) == b'{"usage":{"a":1},"usage":{}}'


def test_a_key_may_be_spelt_with_escapes() -> None:
    assert replaced(rb'{"us\u0061ge":{"a":1}}', ("usage",), {}) == rb'{"us\u0061ge":{}}'


def test_usage_that_is_null_is_none() -> None:
    assert has_usage(b'{"usage":null}') is None
    assert has_usage(b'{"usage" :\n{}}') is not None
