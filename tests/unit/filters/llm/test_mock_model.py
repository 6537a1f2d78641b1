"""The mock's text: deterministic, counted by one rule, cut where it is asked to be."""

import math

import pytest

from pixiu_py.filters.llm.mock.model import PASSAGE, complete, count_tokens, embed


def test_every_word_of_the_passage_is_one_token() -> None:
    assert {count_tokens(word) for word in PASSAGE} == {1}
    assert {len(word) for word in PASSAGE} == {4}


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("äöü", 2), ("\ud800", 1)])
def test_a_token_is_four_bytes_rounded_up(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


def test_the_same_prompt_gets_the_same_reply_and_another_gets_another() -> None:
    assert complete("Hello", 16) == complete("Hello", 16)
    assert complete("Hello", 16).text != complete("Bye", 16).text


def test_each_choice_has_a_text_of_its_own() -> None:
    texts = {complete("Hello", 16, choice=choice).text for choice in range(8)}
    assert len(texts) == 8


@pytest.mark.parametrize("tokens", [1, 16, len(PASSAGE), 3 * len(PASSAGE) + 1])
def test_a_reply_has_as_many_tokens_as_asked(tokens: int) -> None:
    completion = complete("Hello", tokens)
    assert len(completion.pieces) == tokens == count_tokens(completion.text)
    assert completion.finish == "stop"


def test_the_limit_cuts_and_says_so() -> None:
    cut = complete("Hello", 16, limit=5)
    assert (len(cut.pieces), cut.finish) == (5, "length")
    assert complete("Hello", 16).text.startswith(cut.text)


def test_a_limit_that_is_just_enough_does_not_cut() -> None:
    assert complete("Hello", 16, limit=16).finish == "stop"


def test_the_prefix_is_the_first_token_and_survives_any_limit() -> None:
    assert complete("Hello", 16, prefix="[a]").text.startswith("[a] ")
    assert complete("Hello", 16, limit=1, prefix="[a]").pieces == ["[a]"]
    assert len(complete("Hello", 16, prefix="[a]").pieces) == 16


def test_a_stop_sequence_ends_the_reply_before_itself() -> None:
    whole = complete("Hello", 16)
    stop = whole.text[10:14]
    cut = complete("Hello", 16, stops=("never said", stop))
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert (cut.finish, cut.stopped_by) == ("stop", stop)


def test_the_earliest_stop_sequence_counts() -> None:
    whole = complete("Hello", 16)
    first, second = whole.pieces[3], whole.pieces[9]
    assert complete("Hello", 16, stops=(second, first)).stopped_by == first


def test_a_stop_sequence_beyond_the_limit_is_never_reached() -> None:
    last = complete("Hello", 16).pieces[-1]
    assert complete("Hello", 16, limit=2, stops=(last,)).finish == "length"


def test_a_stop_sequence_at_the_start_leaves_nothing() -> None:
    first = complete("Hello", 16).pieces[0]
    cut = complete("Hello", 16, stops=(first,))
    assert (cut.pieces, cut.stopped_by) == ([], first)


def test_an_embedding_depends_on_its_text_alone_and_has_length_one() -> None:
    vector = embed("Hello", 8)
    assert vector == embed("Hello", 8)
    assert vector != embed("Bye", 8)
    assert math.isclose(math.hypot(*vector), 1.0)
