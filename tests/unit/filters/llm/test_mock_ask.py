"""Reading a request body: what is heeded, and which part is named when it is wrong."""

from typing import Any

import pytest

from pixiu_py.filters.llm.mock import ask
from pixiu_py.filters.llm.mock.ask import AskError


def test_parts_of_a_message_without_text_are_skipped() -> None:
    parts = [{"type": "text", "text": "look:"}, {"type": "image_url", "image_url": {"url": "x"}}, "bare"]
    assert ask.conversation([{"content": parts}], "messages") == ["look:\nbare"]


def test_an_assistant_message_may_have_no_content() -> None:
    assert ask.conversation([{"role": "assistant", "content": None, "tool_calls": []}], "messages") == [""]


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ("x", "messages"),
        (None, "messages"),
        (["x"], "messages.0"),
        ([{"content": "a"}, {"content": 1}], "messages.1.content"),
    ],
)
def test_a_conversation_that_is_none_names_its_fault(messages: Any, param: str) -> None:
    with pytest.raises(AskError) as caught:
        ask.conversation(messages, "messages")
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    ("value", "texts"),
    [("Hello", ["Hello"]), (["a", "b"], ["a", "b"]), ([1, 22], ["00010022"]), ([[1], [2, 3]], ["0001", "00020003"])],
)
def test_prompts_are_texts_or_token_ids_one_or_several(value: Any, texts: list[str]) -> None:
    assert ask.prompts(value, "prompt", 4) == texts


@pytest.mark.parametrize("value", [None, [], 1, {}, [{}], [["a"]], [None], ["a"] * 5])
def test_prompts_of_another_kind_or_too_many_are_refused(value: Any) -> None:
    with pytest.raises(AskError) as caught:
        ask.prompts(value, "prompt", 4)
    assert caught.value.param == "prompt"


def test_the_first_key_that_has_a_value_counts() -> None:
    assert ask.count({"max_tokens": 5, "max_completion_tokens": 3}, "max_completion_tokens", "max_tokens") == 3
    assert ask.count({"max_tokens": 5, "max_completion_tokens": None}, "max_completion_tokens", "max_tokens") == 5
    assert ask.count({}, "max_tokens") is None


@pytest.mark.parametrize("value", [0, -1, 9, 1.5, "3", True])
def test_a_count_is_a_whole_number_in_its_range(value: Any) -> None:
    with pytest.raises(AskError) as caught:
        ask.count({"n": value}, "n", most=8)
    assert caught.value.param == "n"


def test_empty_stop_sequences_stop_nothing() -> None:
    assert ask.stop_sequences({"stop": ["", "x"]}, "stop") == ("x",)
    assert ask.stop_sequences({"stop": "x"}, "stop") == ("x",)
    assert ask.stop_sequences({"stop": None}, "stop") == ()


@pytest.mark.parametrize(
    "call",
    [
        lambda: ask.stop_sequences({"stop": [1]}, "stop"),
        lambda: ask.stop_sequences({"stop": {"a": 1}}, "stop"),
        lambda: ask.flag({"stop": "yes"}, "stop"),
        lambda: ask.text_field({"stop": 1}, "stop"),
    ],
)
def test_a_value_of_the_wrong_type_names_its_key(call: Any) -> None:
    with pytest.raises(AskError) as caught:
        call()
    assert (caught.value.status, caught.value.param) == (400, "stop")


@pytest.mark.parametrize("document", [None, [], "text", 1])
def test_a_body_is_an_object(document: Any) -> None:
    with pytest.raises(AskError):
        ask.as_object(document)
