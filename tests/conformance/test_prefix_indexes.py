"""The contract of a prefix index, over each backend, with real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from hashlib import sha256
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixiu_py.registry import Family
from pixiu_py.stores.promptcache.base import TIERS, Entry, PrefixIndex, Scope, Write, merged, steps
from tests.fakes.indexes import KINDS, REGISTRY, empty_index, kept
from tests.fakes.servers import Servers

SCOPE = Scope("alice", "model", "v1")
NOW = 2_000_000_000.5


def h(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Real servers, started when they are first asked for."""
    with ExitStack() as stack:
        yield Servers(tmp_path_factory, stack)


@pytest.fixture(params=KINDS)
async def index(request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator[PrefixIndex]:
    """A started index that is empty."""
    made = await empty_index(request.param, servers)
    yield made
    await made.close()


def test_every_registered_kind_is_tested_here() -> None:
    assert sorted(KINDS) == REGISTRY.kinds(Family.PREFIX_INDEX)


async def test_what_was_written_is_found(index: PrefixIndex) -> None:
    await index.commit(SCOPE, [Write(h("a"), 10, "5m"), Write(h("b"), 30, "1h")], [], NOW)
    found = await index.lookup(SCOPE, [h("a"), h("b"), h("c")], NOW)
    assert found == {
        h("a"): Entry(h("a"), 10, "5m", NOW + 300),
        h("b"): Entry(h("b"), 30, "1h", NOW + 3600),
    }
    assert await kept(index) == 2


async def test_no_hashes_and_no_writes_ask_nothing(index: PrefixIndex) -> None:
    assert await index.lookup(SCOPE, [], NOW) == {}
    await index.commit(SCOPE, [], [], NOW)
    assert await kept(index) == 0


@pytest.mark.parametrize(
    "other",
    [
        Scope("bob", "model", "v1"),
        Scope("alice", "other", "v1"),
        Scope("alice", "model", "v2"),
        Scope("alicem", "odel", "v1"),
    ],
)
async def test_scopes_never_meet(index: PrefixIndex, other: Scope) -> None:
    """Another principal, model or tokenizer version; nor texts that look alike when they are put together."""
    await index.commit(SCOPE, [Write(h("a"), 10, "5m")], [], NOW)
    assert await index.lookup(other, [h("a")], NOW) == {}
    await index.commit(other, [Write(h("a"), 99, "24h")], [], NOW)
    assert (await index.lookup(SCOPE, [h("a")], NOW))[h("a")].tokens == 10


async def test_any_text_can_be_a_scope(index: PrefixIndex) -> None:
    """Principals and models are texts of the configuration and of clients, and of any length."""
    for text in ("o'Brien; --\n:{}", "模型/模型 \U0001f600", "", "a\x00b", "\ud800", "x" * 100_000):
        await index.commit(Scope("alice", text, "v1"), [Write(h(text), 1, "5m")], [], NOW)
        assert set(await index.lookup(Scope("alice", text, "v1"), [h(text)], NOW)) == {h(text)}


async def test_an_entry_ends_with_its_last_moment(index: PrefixIndex) -> None:
    await index.commit(SCOPE, [Write(h("a"), 10, "5m")], [], NOW)
    assert await index.lookup(SCOPE, [h("a")], NOW + 299.9)
    assert await index.lookup(SCOPE, [h("a")], NOW + 300) == {}


async def test_every_read_match_slides(index: PrefixIndex) -> None:
    """Not the longest only: a long-lived system prefix does not die in an active conversation."""
    await index.commit(SCOPE, [Write(h("a"), 10, "1h"), Write(h("b"), 20, "5m")], [], NOW)
    await index.commit(SCOPE, [], [Write(h("a"), 10, "1h"), Write(h("b"), 20, "5m")], NOW + 100)
    found = await index.lookup(SCOPE, [h("a"), h("b")], NOW + 100)
    assert [found[key].expires_at for key in (h("a"), h("b"))] == [NOW + 3700, NOW + 400]


async def test_a_longer_tier_upgrades_and_a_shorter_one_takes_nothing_away(index: PrefixIndex) -> None:
    await index.commit(SCOPE, [Write(h("a"), 10, "5m")], [], NOW)
    await index.commit(SCOPE, [], [Write(h("a"), 10, "24h")], NOW + 1)
    await index.commit(SCOPE, [Write(h("a"), 10, "5m")], [], NOW + 2)
    assert (await index.lookup(SCOPE, [h("a")], NOW + 2))[h("a")] == Entry(h("a"), 10, "24h", NOW + 2 + 86400)


async def test_an_older_clock_shortens_nothing(index: PrefixIndex) -> None:
    """Two machines differ by some seconds."""
    await index.commit(SCOPE, [Write(h("a"), 10, "5m")], [], NOW + 50)
    await index.commit(SCOPE, [Write(h("a"), 10, "5m")], [Write(h("a"), 10, "5m")], NOW)
    assert (await index.lookup(SCOPE, [h("a")], NOW))[h("a")].expires_at == NOW + 350


async def test_a_slide_keeps_the_count_and_a_write_replaces_it(index: PrefixIndex) -> None:
    await index.commit(SCOPE, [Write(h("a"), 10, "5m")], [], NOW)
    await index.commit(SCOPE, [], [Write(h("a"), 11, "5m")], NOW)
    assert (await index.lookup(SCOPE, [h("a")], NOW))[h("a")].tokens == 10
    await index.commit(SCOPE, [Write(h("a"), 12, "5m")], [], NOW)
    assert (await index.lookup(SCOPE, [h("a")], NOW))[h("a")].tokens == 12
    assert await kept(index) == 1


async def test_what_ended_while_the_answer_was_made_is_stored_anew(index: PrefixIndex) -> None:
    """With the tier of the commit: the old one is not revived."""
    await index.commit(SCOPE, [Write(h("a"), 10, "24h"), Write(h("b"), 10, "5m")], [], NOW)
    later = NOW + 90_000
    await index.commit(SCOPE, [], [Write(h("a"), 10, "5m"), Write(h("b"), 20, "5m"), Write(h("c"), 30, "1h")], later)
    found = await index.lookup(SCOPE, [h("a"), h("b"), h("c")], later)
    assert found == {
        h("a"): Entry(h("a"), 10, "5m", later + 300),
        h("b"): Entry(h("b"), 20, "5m", later + 300),
        h("c"): Entry(h("c"), 30, "1h", later + 3600),
    }


async def test_a_hash_may_be_given_twice(index: PrefixIndex) -> None:
    """Two markers on one prefix: the longer tier counts, and a write before a slide."""
    await index.commit(SCOPE, [Write(h("a"), 10, "5m"), Write(h("a"), 11, "5m")], [Write(h("a"), 9, "1h")], NOW)
    assert await index.lookup(SCOPE, [h("a"), h("a")], NOW) == {h("a"): Entry(h("a"), 11, "1h", NOW + 3600)}


async def test_as_many_hashes_as_a_request_can_have(index: PrefixIndex) -> None:
    """Four markers, twenty blocks back from each."""
    hashes = [h(str(number)) for number in range(80)]
    await index.commit(SCOPE, [Write(hash_, 1, "5m") for hash_ in hashes[::2]], [], NOW)
    assert set(await index.lookup(SCOPE, hashes, NOW)) == set(hashes[::2])


async def test_many_writers_at_once(index: PrefixIndex) -> None:
    """Commits that overlap in their hashes all succeed, none waits for another for ever, and nothing is shortened."""
    hashes = [h(str(number)) for number in range(6)]

    async def commit(number: int) -> None:
        mine = [Write(hash_, 5, "1h" if number == 7 else "5m") for hash_ in (hashes if number % 2 else hashes[::-1])]
        await index.commit(SCOPE, mine[:3], mine[3:], NOW + number)

    await asyncio.gather(*(commit(number) for number in range(20)))
    found = await index.lookup(SCOPE, hashes, NOW + 20)
    assert {entry.tier for entry in found.values()} == {"1h"}
    assert min(entry.expires_at for entry in found.values()) >= NOW + 7 + 3600


async def test_a_sweep_removes_what_is_over_and_nothing_else(index: PrefixIndex) -> None:
    """A few at a time. Where entries go away by themselves there is nothing to do."""
    await index.commit(SCOPE, [Write(h(str(number)), 1, "5m") for number in range(5)], [], NOW)
    await index.commit(SCOPE, [Write(h("live"), 1, "1h")], [], NOW)
    removed = [await index.sweep(NOW + 300, 2) for _ in range(4)]
    assert removed in ([2, 2, 1, 0], [0, 0, 0, 0])
    assert set(await index.lookup(SCOPE, [h("0"), h("live")], NOW + 300)) == {h("live")}


ticks = st.integers(0, 40_000).map(lambda tenths: tenths / 8)  # exact in binary, so that sums are as well
hashes = st.sampled_from([h(letter) for letter in "abcd"])
writes = st.lists(st.builds(Write, hashes, st.integers(0, 9), st.sampled_from(sorted(TIERS))), max_size=3)
commits = st.lists(st.tuples(st.sampled_from(["m1", "m2"]), writes, writes, ticks), max_size=8)


@pytest.mark.parametrize("kind", KINDS)
def test_any_history_ends_as_the_rule_says(kind: str, servers: Servers) -> None:
    """Random commits, with clocks that go back and forth, against ``merged`` applied to a dict."""
    with asyncio.Runner() as runner:
        index = runner.run(empty_index(kind, servers))

        @given(commits, ticks)
        @settings(max_examples=60)
        def check(history: list[tuple[str, list[Write], list[Write], float]], at: float) -> None:
            nobody = uuid4().hex  # a scope of its own for each example
            expected: dict[tuple[str, bytes], Entry] = {}
            for model, written, slid, tick in history:
                runner.run(index.commit(Scope(nobody, model, "v"), written, slid, NOW + tick))
                for write, slide in steps(written, slid):
                    old = expected.get((model, write.hash))
                    expected[model, write.hash] = merged(old, write, NOW + tick, slide=slide)
            for model in ("m1", "m2"):
                live = {
                    hash_: entry
                    for (owner, hash_), entry in expected.items()
                    if owner == model and entry.expires_at > NOW + at
                }
                found = runner.run(index.lookup(Scope(nobody, model, "v"), [h(letter) for letter in "abcd"], NOW + at))
                assert found == live

        check()
        runner.run(index.close())
