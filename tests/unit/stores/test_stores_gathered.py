"""Reads that come while others are on their way are asked together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from pixiu_py.stores.base import StoreError
from pixiu_py.stores.gathered import GatheredReads
from pixiu_py.tasks import Tasks


class Store:
    """Knows that a key's value is itself; answers when the test lets it."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.answers = asyncio.Event()
        self.error: Exception | None = None
        self.trying = False

    async def ask(self, keys: Sequence[str]) -> list[bytes | None]:
        self.asked.append(list(keys))
        await self.answers.wait()
        if self.error is not None:
            raise self.error
        return [key.encode() for key in keys]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest_asyncio.fixture
async def reads(store: Store) -> AsyncIterator[GatheredReads]:
    reads = GatheredReads(store.ask, "test", lambda: store.trying)
    yield reads
    await reads.close()


@pytest_asyncio.fixture
async def tasks() -> AsyncIterator[Tasks]:
    tasks = Tasks("test")
    yield tasks
    await tasks.close()


async def turns() -> None:
    """Whatever can go on has gone on."""
    for _ in range(5):
        await asyncio.sleep(0)


async def begun(tasks: Tasks, reads: GatheredReads, *keys: str) -> list[asyncio.Task[bytes | None]]:
    """Reads of these keys, one after the other."""
    begun = []
    for key in keys:
        begun.append(tasks.spawn(reads.get(key), "get"))
        await turns()
    return begun


async def test_lone_read_goes_out_at_once(reads: GatheredReads, store: Store) -> None:
    store.answers.set()
    assert await reads.get("a") == b"a"
    assert await reads.get("b") == b"b"
    assert store.asked == [["a"], ["b"]]


async def test_reads_of_one_moment_are_one_command(reads: GatheredReads, store: Store) -> None:
    """Each gets its own value, also where two want the same."""
    store.answers.set()
    assert await asyncio.gather(*map(reads.get, "abca")) == [b"a", b"b", b"c", b"a"]
    assert store.asked == [["a", "b", "c", "a"]]


async def test_what_comes_meanwhile_is_the_next_command(reads: GatheredReads, store: Store, tasks: Tasks) -> None:
    """Two are under way at once, no more."""
    waiting = await begun(tasks, reads, *"abcde")
    assert store.asked == [["a"], ["b"]]
    store.answers.set()
    assert await asyncio.gather(*waiting) == [b"a", b"b", b"c", b"d", b"e"]
    assert store.asked == [["a"], ["b"], ["c", "d", "e"]]


async def test_a_command_is_bounded(reads: GatheredReads, store: Store) -> None:
    """However many wait, an answer has 128 values at most, and all are answered."""
    store.answers.set()
    keys = [str(number) for number in range(300)]
    assert await asyncio.gather(*map(reads.get, keys)) == [key.encode() for key in keys]
    assert [len(asked) for asked in store.asked] == [128, 128, 44]


async def test_failure_is_told_to_all_who_asked_and_to_no_other(reads: GatheredReads, store: Store) -> None:
    store.answers.set()
    store.error = StoreError("gone")
    outcomes = await asyncio.gather(*map(reads.get, "ab"), return_exceptions=True)
    assert [(type(outcome), str(outcome)) for outcome in outcomes] == [(StoreError, "gone")] * 2
    assert outcomes[0] is not outcomes[1]
    store.error = None
    assert await reads.get("c") == b"c"


async def test_fault_is_told_as_what_it_is_and_ends_nothing(reads: GatheredReads, store: Store) -> None:
    """Those that come after it are answered."""
    store.answers.set()
    store.error = KeyError("a fault")
    assert [type(each) for each in await asyncio.gather(*map(reads.get, "ab"), return_exceptions=True)] == [
        KeyError
    ] * 2
    store.error = None
    assert await reads.get("c") == b"c"


async def test_who_gives_up_takes_nobody_along(reads: GatheredReads, store: Store, tasks: Tasks) -> None:
    """Neither those in the same command nor those after; and what nobody wants any more is not asked."""
    first, _, third, fourth = await begun(tasks, reads, *"abcd")
    first.cancel()
    third.cancel()
    await turns()
    store.answers.set()
    assert await fourth == b"d"
    assert store.asked == [["a"], ["b"], ["d"]]


async def test_one_at_a_time_while_the_store_is_tried(reads: GatheredReads, store: Store) -> None:
    """So that a store that hangs still keeps one waiting, not all."""
    store.trying = True
    store.answers.set()
    assert await asyncio.gather(*map(reads.get, "abc")) == [b"a", b"b", b"c"]
    assert store.asked == [["a"], ["b"], ["c"]]


async def test_end_leaves_nobody_waiting(reads: GatheredReads, tasks: Tasks) -> None:
    waiting = await begun(tasks, reads, *"abcd")
    await reads.close()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreError] * 4
