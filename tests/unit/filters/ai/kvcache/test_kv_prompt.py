"""Canonical text and chunk keys: which bodies share a prefix, and how much of one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixiu_py.filters.ai.kvcache.prompt import CHUNK, KEY_SIZE, RUN, Prompt, canonical, chunk_keys, prompt_of
from tests.fakes.kv import chat, prompt, text

LONG = text("long", 4 * CHUNK)


def shared(one: Prompt, other: Prompt) -> int:
    """How many leading keys are equal."""
    pairs = list(zip(one.keys, other.keys, strict=False))
    return next((number for number, (a, b) in enumerate(pairs) if a != b), len(pairs))


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two bodies have the same canonical text."""
    return b"".join(canonical(one)) == b"".join(canonical(other))


# --- which bodies are alike ------------------------------------------------------------------------------------------


def test_a_growing_conversation_shares_all_of_its_beginning() -> None:
    """Each turn repeats the turns before it."""
    first = chat(LONG)
    second = chat(LONG, "an answer", LONG)
    assert len(first.keys) >= 4
    assert shared(first, second) == len(first.keys)


def test_a_shared_system_prompt_is_a_shared_prefix() -> None:
    """Whoever asks, and whatever comes after it; in Anthropic's place as in OpenAI's."""
    system = {"role": "system", "content": LONG}
    one, other = (prompt({"messages": [system, {"role": "user", "content": name}]}) for name in ("x", "y"))
    assert shared(one, other) == 4
    one, other = (prompt({"system": LONG, "messages": [{"role": "user", "content": n}]}) for n in ("x", "y"))
    assert shared(one, other) == 4


def test_a_shared_tool_list_is_a_shared_prefix() -> None:
    """Tools are rendered before the messages; the order of their keys does not matter."""
    tools = [{"type": "function", "function": {"name": "f", "description": LONG}}]
    turned = [{"function": {"description": LONG, "name": "f"}, "type": "function"}]
    assert shared(chat("x", tools=tools), chat("y", tools=turned)) == 4


def test_the_beginning_of_one_text_is_a_shared_prefix() -> None:
    """A document with different questions behind it, also in the older text API and as token ids."""
    assert shared(chat(LONG + "x"), chat(LONG + "y")) == 4
    assert shared(prompt({"prompt": LONG + "x"}), prompt({"prompt": LONG + "yy"})) == 4
    ids = list(range(1000))
    assert shared(prompt({"prompt": [*ids, 1]}), prompt({"prompt": [*ids, 2]})) == 3890 // CHUNK


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"temperature": 1}, {"stream": True}),
        (
            {"messages": [{"role": "user", "content": "x"}]},
            {"messages": [{"content": [{"type": "text", "text": "x"}], "role": "user"}]},
        ),
        (
            {"system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]},
            {"system": "s"},
        ),
        ({"tools": [{"name": "f", "cache_control": {}}]}, {"tools": [{"name": "f"}]}),
        (
            {"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": "y"}]},
            {
                "messages": [
                    {"role": "user", "content": "x", "name": ""},
                    {"role": "user", "content": "y", "extra": None},
                ]
            },
        ),
        ({"input": "x"}, {"input": [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}]}),
        ({"instructions": "s"}, {"messages": [{"role": "system", "content": "s"}]}),
    ],
)
def test_what_an_engine_sees_alike_is_alike(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"messages": [{"role": "user", "content": "xy"}]}, {"messages": [{"role": "user", "content": "x"}] * 1}),
        ({"messages": [{"role": "user", "content": "x"}]}, {"messages": [{"role": "system", "content": "x"}]}),
        (
            {"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": "y"}]},
            {"messages": [{"role": "user", "content": "xuser\ufffey"}]},
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]},
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "2"}]}]},
        ),
        ({"prompt": ["x", "y"]}, {"prompt": ["xy"]}),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:1"}}]}]},
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:2"}}]}]},
        ),
    ],
)
def test_what_an_engine_sees_differently_is_different(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert not same(one, other)


def test_models_share_nothing() -> None:
    """An engine that serves two models has two caches."""
    one = chat(LONG)
    assert shared(one, one.under("other")) == 0
    assert one.under("") is one
    assert one.under("m") is one


def test_bodies_without_a_prompt_have_none() -> None:
    """Embeddings are computed, not cached; lists and numbers are no requests."""
    assert prompt_of({"input": "x"}, "m", "/v1/embeddings", b"") is None
    for body in ({}, {"messages": []}, [], 5, None, {"query": "x"}):
        assert prompt_of(body, "m", "/v1/chat/completions", b"") is None


# --- keys ------------------------------------------------------------------------------------------------------------


def test_a_part_of_a_chunk_has_no_key() -> None:
    """An engine caches whole blocks only; a short prompt is nobody's."""
    assert chunk_keys(b"m", b"x" * (CHUNK - 1)) == ([], [])
    keys, ends = chunk_keys(b"m", b"x" * (2 * CHUNK + 1))
    assert ends == [CHUNK, 2 * CHUNK]
    assert [len(key) for key in keys] == [KEY_SIZE, KEY_SIZE]
    assert keys[0] != keys[1]


def test_chunks_grow_with_their_distance() -> None:
    """So a long prompt costs little, and is known to about a 32nd of its length."""
    _, ends = chunk_keys(b"m", b"x" * 2**20)
    sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    assert sizes[:RUN] == [CHUNK] * RUN
    assert len(ends) < 270
    assert all(size == CHUNK or size <= 2 * end / RUN for size, end in zip(sizes, ends, strict=True))


@given(st.binary(max_size=4000), st.integers(0, 4000), st.integers(0, 255))
def test_keys_agree_exactly_as_far_as_the_text(data: bytes, at: int, byte: int) -> None:
    """Changing one byte changes the key of its chunk and of all after it, and of none before."""
    changed = data[:at] + bytes([byte]) + data[at + 1 :]
    keys, ends = chunk_keys(b"m", data)
    others, _ = chunk_keys(b"m", changed)
    for key, other, end in zip(keys, others, ends, strict=False):
        assert (key == other) == (data[:end] == changed[:end])


def test_the_length_is_that_of_the_tokens_where_they_are_known() -> None:
    """Else an estimate of four bytes per token."""
    asked = chat("x" * 400)
    assert 100 <= asked.length <= 110
    asked.tokens = [1, 2, 3]
    assert asked.length == 3


def test_no_text_is_kept() -> None:
    """Keys are digests, and nothing else is made from the text."""
    asked = chat("secret " * 100)
    assert asked.keys
    assert b"secret" not in b"".join(asked.keys)


def test_nesting_without_end_does_no_harm() -> None:
    """What cannot be written down again counts as nothing."""
    deep: list[Any] = []
    for _ in range(600):
        deep = [deep]
    asked = prompt_of({"messages": [{"role": "user", "content": [deep]}]}, "m", "/v1/chat/completions", b"")
    assert asked is not None
    assert asked.keys == []
