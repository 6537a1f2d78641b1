"""The example streaming filter: whatever the borders of the chunks, the client sees the same text."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixiu_py.filters.chain import FilterChain
from plugins.redact_stream import Redact, RedactConfig
from tests.fakes.exchange import make_context, make_exchange


def redact(*words: str, **config: Any) -> Redact:
    return Redact(RedactConfig(words=list(words), **config), make_context())


def sent(chunks: Iterable[bytes], *filters: Redact) -> list[bytes]:
    """What the client gets of these chunks, and of the end."""
    chain, exchange = FilterChain(filters), make_exchange()
    exchange.entered = len(filters)
    return [*(chain.encode_chunk(exchange, chunk) for chunk in chunks), chain.encode_end(exchange)]


def test_a_word_within_a_chunk_is_replaced() -> None:
    assert sent([b"the old fox saw"], redact("fox")) == [b"the old *** saw", b""]


def test_a_word_across_chunks_is_replaced() -> None:
    assert b"".join(sent([b"the old f", b"o", b"x saw"], redact("fox"))) == b"the old *** saw"


def test_only_what_may_become_a_word_is_held_back() -> None:
    assert sent([b"the old fo", b"e"], redact("fox")) == [b"the old ", b"foe", b""]


def test_the_beginning_of_a_word_at_the_very_end_is_sent_after_all() -> None:
    assert sent([b"the old fo"], redact("fox")) == [b"the old ", b"fo"]


def test_a_short_word_waits_for_a_longer_one_and_is_replaced_when_none_comes() -> None:
    filter_ = redact("fox", "foxglove")
    assert b"".join(sent([b"a fox", b"glove"], filter_)) == b"a ***"
    assert b"".join(sent([b"a fox", b"hole"], filter_)) == b"a ***hole"
    assert b"".join(sent([b"a fox"], filter_)) == b"a ***"


def test_a_replacement_is_taken_literally() -> None:
    assert b"".join(sent([b"a fo", b"x"], redact("fox", replacement=r"\1"))) == rb"a \1"
    assert b"".join(sent([b"ab"], redact("ab", "abc", replacement=r"\g<0>"))) == rb"\g<0>"


def test_a_chain_may_have_it_twice_without_mixing_what_is_held() -> None:
    assert b"".join(sent([b"fo", b"x he", b"n"], redact("fox"), redact("hen", replacement="-"))) == b"*** -"


def test_requests_under_way_together_do_not_mix() -> None:
    filter_, first, second = redact("fox"), make_exchange(), make_exchange()
    assert filter_.encode_chunk(first, b"fo") == b""
    assert filter_.encode_chunk(second, b"x") == b"x"
    assert filter_.encode_chunk(first, b"x") == b"***"


def test_the_endpoint_is_asked_for_plain_text() -> None:
    exchange = make_exchange(headers={"Accept-Encoding": "gzip", "Accept": "*/*"})
    redact("fox").decode(exchange)
    assert [name for name, _ in exchange.request.headers] == ["Accept"]


@pytest.mark.parametrize("words", [(".",), ("a|b", "(")])
def test_words_are_texts_not_patterns(words: tuple[str, ...]) -> None:
    assert b"".join(sent([b"abc"], redact(*words))) == b"abc"


@given(
    words=st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=4),
    chunks=st.lists(st.text("abc", min_size=1, max_size=5), max_size=6),
)
def test_the_result_does_not_depend_on_where_the_chunks_end(words: list[str], chunks: list[str]) -> None:
    whole = re.sub("|".join(sorted(words, key=len, reverse=True)), "#", "".join(chunks))
    filter_ = redact(*words, replacement="#")
    assert b"".join(sent([chunk.encode() for chunk in chunks], filter_)).decode() == whole


@given(chunks=st.lists(st.text("ab", min_size=1, max_size=8), max_size=8))
def test_less_is_held_back_than_the_longest_word(chunks: list[str]) -> None:
    filter_, exchange = redact("ab", "aaab"), make_exchange()
    for chunk in chunks:
        filter_.encode_chunk(exchange, chunk.encode())
        assert sum(map(len, exchange.params.values())) < len("aaab")


def test_the_number_and_length_of_words_are_bounded() -> None:
    for words in ([], ["x"] * 33, ["x" * 65], [""]):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"words": words}, RedactConfig)
