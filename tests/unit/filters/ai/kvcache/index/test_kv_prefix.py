"""The prefix index: what was sent where, for how long, and to how many."""

from __future__ import annotations

import tracemalloc

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.filters.ai.kvcache.prompt import CHUNK
from tests.fakes.clusters import make_endpoints
from tests.fakes.kv import chat, prefix_index, text

A, B, C = make_endpoints(3)
HELLO = text("hello", 2000)


class Clock:
    """A clock that is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_prompt_is_found_where_it_was_sent() -> None:
    """All of its whole chunks, in tokens; for a longer prompt what it begins with."""
    index = prefix_index()
    first = chat(HELLO)
    index.routed(first, A)
    assert index.lookup(first, [A, B]) == {"e0": first.ends[-1]}
    assert index.lookup(chat(HELLO, "answer", text("more", 5000)), [A, B]) == {"e0": first.ends[-1]}
    assert index.lookup(first, [B]) == {}
    assert index.size == len(first.keys)


def test_a_shared_beginning_is_found_at_everyone_who_was_sent_it() -> None:
    """Each as far as its own prompt went."""
    index = prefix_index()
    one, other = chat(HELLO, "x", text("one", 3000)), chat(HELLO, "x", text("other", 3000))
    index.routed(one, A)
    index.routed(other, B)
    found = index.lookup(one, [A, B, C])
    assert found["e0"] == one.ends[-1]
    assert found["e1"] == one.ends[len(HELLO) // CHUNK - 1]


def test_entries_expire() -> None:
    """A ttl after their last use; being looked up is no use."""
    clock = Clock()
    index = prefix_index(clock, ttl=10.0)
    asked = chat(HELLO)
    index.routed(asked, A)
    clock.now = 9.0
    assert index.lookup(asked, [A])
    clock.now = 10.1
    assert index.lookup(asked, [A]) == {}
    index.routed(asked, B)
    assert index.lookup(asked, [A, B]).keys() == {"e1"}


def test_a_forgotten_endpoint_holds_nothing_until_it_is_sent_something() -> None:
    """Within the same tick of the clock, too."""
    index = prefix_index()
    asked = chat(HELLO)
    index.routed(asked, A)
    index.routed(asked, B)
    index.forget("e0")
    assert index.lookup(asked, [A, B]).keys() == {"e1"}
    index.routed(asked, A)
    assert index.lookup(asked, [A, B]).keys() == {"e0", "e1"}


def test_a_new_endpoint_takes_the_place_of_the_one_unused_longest() -> None:
    """And inherits nothing from it."""
    index = prefix_index(max_endpoints=2)
    asked = chat(HELLO)
    for endpoint in (A, B, A):
        index.routed(asked, endpoint)
    index.routed(chat(text("other", 2000)), C)
    assert index.lookup(asked, [A, B, C]).keys() == {"e0"}


def test_what_an_endpoint_has_no_room_for_is_not_expected_there() -> None:
    """With ``cache_tokens`` its oldest text falls out of sight as new text comes; what it had already is not new."""
    index = prefix_index(cache_tokens=2000)
    asked = chat(HELLO)  # 500 tokens
    index.routed(asked, A)
    for _ in range(20):
        index.routed(asked, A)
    assert index.lookup(asked, [A])
    for number in range(3):
        index.routed(chat(text(f"other {number}", 2000)), A)
    assert index.lookup(asked, [A])
    for number in range(3, 7):
        index.routed(chat(text(f"other {number}", 2000)), A)
    assert index.lookup(asked, [A]) == {}


def test_a_short_prompt_is_nobodys() -> None:
    """It has no whole chunk."""
    index = prefix_index()
    index.routed(chat("hello"), A)
    assert index.lookup(chat("hello"), [A]) == {}
    assert index.size == 0


def test_a_million_chunks_fit_into_their_memory() -> None:
    """128 MiB are allowed; all of it is taken at start, and use takes no more."""
    tracemalloc.start()
    try:
        index = prefix_index(max_chunks=1_000_000)
        assert tracemalloc.get_traced_memory()[0] < 32 * 2**20
        endpoints = [Endpoint("c", f"e{number}", "10.0.0.1", 1) for number in range(100)]
        for number in range(2000):
            index.routed(chat(text(f"prompt {number}", 3000)), endpoints[number % 100])
        assert tracemalloc.get_traced_memory()[0] < 32 * 2**20
        assert index.size > 9_000
    finally:
        tracemalloc.stop()


def test_a_small_index_keeps_what_was_used_last() -> None:
    """Never more than it may."""
    index = prefix_index(max_chunks=64)
    for number in range(200):
        index.routed(chat(text(f"prompt {number}", 2000)), A)
        assert index.size <= 64
    assert index.lookup(chat(text("prompt 199", 2000)), [A])
    assert index.lookup(chat(text("prompt 0", 2000)), [A]) == {}
