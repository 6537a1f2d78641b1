"""Rules of usage: three spellings, one meaning, and the last word counts."""

from __future__ import annotations

import pytest

from pixiu_py.filters.llm.usage import Usage, UsageCollector


def collect(*documents):
    collector = UsageCollector()
    for document in documents:
        collector.add(document)
    return collector.usage


def test_openais_spelling_is_read():
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 8},
    }
    assert collect({"model": "m", "usage": usage}) == Usage("m", 10, 5, 15, 8)


def test_openai_embeddings():
    assert collect({"model": "e", "usage": {"prompt_tokens": 7, "total_tokens": 7}}) == Usage("e", 7, 0, 7)


def test_anthropic_input_tokens_do_not_include_the_cache():
    usage = {
        "input_tokens": 3,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 20,
        "output_tokens": 5,
    }
    assert collect({"model": "c", "usage": usage}) == Usage("c", 123, 5, 128, 100, 20)


def test_anthropic_stream_in_two_halves():
    start = {"type": "message_start", "message": {"model": "c", "usage": {"input_tokens": 3, "output_tokens": 1}}}
    delta = {"type": "message_delta", "usage": {"output_tokens": 9}}
    assert collect(start, delta) == Usage("c", 3, 9, 12)


def test_responses_input_tokens_include_the_cache():
    usage = {
        "input_tokens": 36,
        "input_tokens_details": {"cached_tokens": 30},
        "output_tokens": 87,
        "total_tokens": 123,
    }
    document = {"type": "response.completed", "response": {"model": "r", "usage": usage}}
    assert collect(document) == Usage("r", 36, 87, 123, 30)


def test_running_totals_are_not_added_up():
    chunks = [{"model": "m", "usage": {"prompt_tokens": 10, "completion_tokens": n}} for n in (1, 2, 3)]
    assert collect(*chunks) == Usage("m", 10, 3, 13)


def test_the_endpoints_own_spelling_is_kept_beside():
    collector = UsageCollector()
    collector.add({"usage": {"prompt_tokens": 4, "special": 1}})
    assert collector.fields == {"prompt_tokens": 4, "special": 1}


@pytest.mark.parametrize("model", [5, "", None, ["m"]])
def test_a_model_that_is_no_name_does_not_replace_one(model):
    assert collect({"model": "m"}, {"model": model, "usage": {"prompt_tokens": 1}}).model == "m"


def test_null_does_not_take_a_count_away():
    assert (
        collect({"usage": {"prompt_tokens": 4}}, {"usage": None}, {"usage": {"prompt_tokens": None}}).prompt_tokens == 4
    )


@pytest.mark.parametrize(
    "document", [None, [], "x", 1, {}, {"usage": None}, {"usage": []}, {"usage": {}}, {"message": 1}]
)
def test_nothing_said_is_none(document):
    assert collect(document) is None


@pytest.mark.parametrize("value", [-1, True, "7", None, [], {}, 1e300, float("nan")])
def test_what_is_no_count_is_zero(value):
    usage = collect({"usage": {"prompt_tokens": value, "completion_tokens": 2}})
    assert (usage.prompt_tokens, usage.completion_tokens) == (0, 2)
