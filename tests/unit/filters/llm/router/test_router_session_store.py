"""The store of conversations behind its wall: nothing that fails there fails a request, and nothing that was said is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from pixiu_py.filters.llm.router.session import First, Latest
from pixiu_py.filters.llm.router.session_binding import Binding, decode, encode
from pixiu_py.filters.llm.router.session_model import Routing
from pixiu_py.filters.llm.router.session_store import NOTHING, Known, SessionStore
from pixiu_py.stores.base import Store, StoreError
from pixiu_py.stores.memory import MemoryConfig, MemoryStore
from tests.fakes.exchange import make_context

BIG, SMALL = Binding("big", "code"), Binding("small", "code")


class Slow(MemoryStore):
    """A store whose writes wait until they may go on, and which fails when told to."""

    def __init__(self, clock: Any = lambda: 0.0) -> None:
        super().__init__(MemoryConfig(), clock)
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.begun = asyncio.Event()
        self.broken = False
        self.writes = 0
        self.closed = False

    async def get(self, key: str) -> bytes | None:
        self._check()
        return await super().get(key)

    async def add(self, key: str, value: bytes, ttl: float = 0.0) -> bool:
        await self._write()
        return await super().add(key, value, ttl)

    async def swap(self, key: str, old: bytes, new: bytes, ttl: float = 0.0) -> bool:
        await self._write()
        return await super().swap(key, old, new, ttl)

    async def close(self) -> None:
        self.closed = True

    async def _write(self) -> None:
        self.begun.set()
        await self.may_write.wait()
        self._check()
        self.writes += 1

    def _check(self) -> None:
        if self.broken:
            raise StoreError("redis: gone")


class Sessions(SessionStore):
    """One under test: its events by their outcome."""

    def count(self, outcome: str) -> float:
        return self._events.series.get((outcome,), 0)


@asynccontextmanager
async def opened(store: Store, clock: Any = lambda: 0.0, **keys: Any) -> AsyncIterator[Sessions]:
    """Conversations in ``store``; at the end they are written."""
    sessions = Sessions(store, Routing(**keys), make_context(clock))
    await sessions.start()
    try:
        yield sessions
    finally:
        await sessions.close()


async def test_what_was_put_is_there_at_once_and_written_behind_the_request() -> None:
    """A request that follows finds it, whether the store has it by then or not."""
    store = Slow()
    store.may_write.clear()
    async with opened(store) as sessions:
        assert await sessions.get("k") == NOTHING
        sessions.put("k", NOTHING, First(None, BIG))
        assert (await sessions.get("k")).binding == BIG
        await store.begun.wait()
        assert (await sessions.get("k")).binding == BIG
        assert len(store) == 0
        store.may_write.set()
    assert await store.get("k") == encode(BIG)
    assert store.closed
    assert [sessions.count(outcome) for outcome in ("miss", "hit", "store", "error", "store_error")] == [1, 2, 1, 0, 0]


async def test_nothing_is_lost_at_the_end() -> None:
    """Whatever was put before, also while another write was under way."""
    store = Slow()
    store.may_write.clear()
    async with opened(store) as sessions:
        sessions.put("first", NOTHING, First(None, BIG))
        await store.begun.wait()
        for number in range(100):
            sessions.put(f"k{number}", NOTHING, First(None, SMALL))
        asyncio.get_running_loop().call_soon(store.may_write.set)
    assert len(store) == 101


async def test_a_store_that_hangs_at_the_end_is_left_in_time() -> None:
    """And what could not be written is counted."""
    store = Slow()
    store.may_write.clear()
    async with opened(store, session_close_timeout=0.01) as sessions:
        sessions.put("first", NOTHING, First(None, BIG))
        await store.begun.wait()
        sessions.put("second", NOTHING, First(None, BIG))
    assert sessions.count("dropped") == 1
    assert store.closed


async def test_what_waits_is_bounded() -> None:
    """Above it sessions are not kept, and counted; what waits already may still change."""
    store = Slow()
    store.may_write.clear()
    async with opened(store, session_max_pending=2) as sessions:
        for key in "abc":
            sessions.put(key, NOTHING, First(None, BIG))
        sessions.put("b", NOTHING, Latest(SMALL))
        assert sessions.count("dropped") == 1
        store.may_write.set()
    assert [await store.get(key) for key in "abc"] == [encode(BIG), encode(SMALL), None]


async def test_a_store_that_fails_is_as_good_as_an_empty_one() -> None:
    """Reads and writes go on without it, are counted, and it is said once in a while, not for each request."""
    now = [0.0]
    store = Slow()
    store.broken = True
    async with opened(store, lambda: now[0]) as sessions:
        for number in range(5):
            assert await sessions.get(f"k{number}") == NOTHING
        sessions.put("k", NOTHING, First(None, BIG))
    assert sessions.count("error") == 5
    assert sessions.count("store_error") == 1


@pytest.mark.parametrize("odd", [RuntimeError("a fault of the plugin"), KeyError("k"), OSError()])
async def test_a_store_that_raises_what_it_should_not_is_no_worse(odd: Exception) -> None:
    """Stores are plugins. Nothing that one raises fails a request, or keeps what comes after it from being written."""

    class Faulty(Slow):
        def _check(self) -> None:
            if self.broken:
                raise odd

    store = Faulty()
    store.broken = True
    async with opened(store) as sessions:
        assert await sessions.get("k") == NOTHING
        sessions.put("k", NOTHING, First(None, BIG))
        await store.begun.wait()
        await asyncio.sleep(0)
        store.broken = False
        sessions.put("other", NOTHING, First(None, BIG))
    assert (sessions.count("error"), sessions.count("store_error"), sessions.count("store")) == (1, 1, 1)
    assert await store.get("other") == encode(BIG)


async def test_a_store_that_gives_what_is_no_bytes_knows_nothing() -> None:
    """Nor does what it answers fail a request."""

    class Odd(Slow):
        async def get(self, key: str) -> Any:
            return [key]

    async with opened(Odd()) as sessions:
        assert await sessions.get("k") == NOTHING
        assert sessions.count("error") == 1


async def test_failures_are_said_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """With how many there were since."""
    said: list[dict[str, Any]] = []
    log = "pixiu_py.filters.llm.router.session_store.log.warning"
    monkeypatch.setattr(log, lambda event, **fields: said.append(fields))
    now = [0.0]
    store = Slow()
    store.broken = True
    async with opened(store, lambda: now[0]) as sessions:
        for _ in range(5):
            await sessions.get("k")
        now[0] += 30.0
        await sessions.get("k")
    assert [fields["failures"] for fields in said] == [1, 5]


async def test_the_store_is_used_again_when_it_is_back() -> None:
    store = Slow()
    async with opened(store) as sessions:
        store.broken = True
        assert await sessions.get("k") == NOTHING
        store.broken = False
        await store.add("k", encode(BIG))
        assert (await sessions.get("k")).binding == BIG


async def test_what_cannot_be_read_is_a_miss_and_is_replaced() -> None:
    store = Slow()
    await store.set("k", b"not json")
    async with opened(store) as sessions:
        known = await sessions.get("k")
        assert known == Known(None, b"not json")
        assert sessions.count("miss") == 1
        sessions.put("k", known, First(known.binding, BIG))
    assert await store.get("k") == encode(BIG)


async def test_no_life_means_none() -> None:
    """With a time to live of 0 nothing is asked and nothing is kept, one entry or two, whatever the store."""
    store = Slow()
    store.broken = True
    async with opened(store, session_ttl_seconds=0) as sessions:
        for key in "ab":
            sessions.put(key, NOTHING, First(None, BIG))
            assert await sessions.get(key) == NOTHING
    assert len(store) == 0
    assert sessions.count("error") == sessions.count("store_error") == 0


async def test_life_counts_from_the_beginning() -> None:
    """Reads in between do not extend it."""
    now = [0.0]
    store = Slow(lambda: now[0])
    async with opened(store, session_ttl_seconds=10) as sessions:
        sessions.put("k", NOTHING, First(None, BIG))
    async with opened(store, session_ttl_seconds=10) as sessions:
        for _ in range(9):
            now[0] += 1
            known = await sessions.get("k")
            assert known.binding == BIG
            sessions.put("k", known, First(known.binding, BIG))
    now[0] += 1
    assert await store.get("k") is None


async def test_life_counts_from_the_latest_use_if_that_is_wanted() -> None:
    now = [0.0]
    store = Slow(lambda: now[0])
    for _ in range(5):
        async with opened(store, session_ttl_seconds=10, session_ttl="sliding") as sessions:
            known = await sessions.get("k")
            sessions.put("k", known, First(known.binding, BIG))
        now[0] += 9
        assert await store.get("k") == encode(BIG)
    now[0] += 1
    assert await store.get("k") is None


# --- several at once -------------------------------------------------------------------------------------------------


async def test_of_two_that_begin_at_once_the_first_pins() -> None:
    """In two gateways with one store: both find nothing, and both end up with the same."""
    store = Slow()
    async with opened(store) as one, opened(store) as two:
        seen = [await one.get("k"), await two.get("k")]
        assert seen == [NOTHING, NOTHING]
        one.put("k", NOTHING, First(None, BIG))
        two.put("k", NOTHING, First(None, SMALL))
    assert await store.get("k") == encode(BIG)


async def test_a_pin_moves_away_from_the_model_that_failed_only() -> None:
    """Who saw an older pin does not undo what another has moved it to."""
    store = Slow()
    await store.set("k", encode(BIG))
    other = Binding("other", "code")
    async with opened(store) as one, opened(store) as two:
        seen = await one.get("k")
        assert await two.get("k") == seen
        one.put("k", seen, First(seen.binding, SMALL))
        two.put("k", seen, First(seen.binding, other))
    assert await store.get("k") == encode(SMALL)


async def test_a_session_that_never_stands_still_is_given_up() -> None:
    """The tries are bounded."""

    class Restless(Slow):
        async def swap(self, key: str, old: bytes, new: bytes, ttl: float = 0.0) -> bool:
            await self._write()
            return False

    store = Restless()
    await store.set("k", encode(BIG))
    async with opened(store) as sessions:
        known = await sessions.get("k")
        sessions.put("k", known, Latest(SMALL))
    assert store.writes == 4
    assert sessions.count("store_error") == 1


async def test_changes_that_meet_in_the_queue_are_all_made() -> None:
    """One write for all of them, onto what is there by then."""
    store = Slow()
    await store.set("k", encode(Binding("big", "code", switches=5)))

    class Switch:
        def onto(self, current: Binding | None) -> Binding | None:
            return current and Binding(current.model_name, current.route_name, switches=current.switches + 1)

    store.may_write.clear()
    async with opened(store) as sessions:
        known = await sessions.get("k")
        sessions.put("other", NOTHING, First(None, BIG))
        await store.begun.wait()
        for _ in range(3):
            sessions.put("k", known, Switch())
        await store.set("k", encode(Binding("big", "code", switches=10)))
        store.may_write.set()
    data = await store.get("k")
    assert data is not None
    assert decode(data) == Binding("big", "code", switches=13)


# --- the memory store as sessions use it -----------------------------------------------------------------------------


class Lru(RuleBasedStateMachine):
    """Whatever is done in whatever order: a bound, an end, and the one unused longest goes first."""

    LIMIT = 3

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.store = MemoryStore(MemoryConfig(max_entries=self.LIMIT), clock=lambda: self.now)
        #: Key → (value, end), in order of use.
        self.model: dict[str, tuple[bytes, float]] = {}

    keys = st.sampled_from("abcde")

    @rule(key=keys, value=st.binary(max_size=2), ttl=st.integers(1, 5))
    def set(self, key: str, value: bytes, ttl: int) -> None:
        """An update evicts nobody; a new one the entry unused longest, of those that are there."""
        asyncio.run(self.store.set(key, value, ttl))
        new = key not in self.model
        self.model.pop(key, None)
        if new and len(self.model) == self.LIMIT:
            del self.model[next(iter(self.model))]
        self.model[key] = value, self.now + ttl

    @rule(key=keys)
    def get(self, key: str) -> None:
        found = asyncio.run(self.store.get(key))
        value, end = self.model.get(key, (None, 0.0))
        if end <= self.now:
            self.model.pop(key, None)
            assert found is None
        else:
            self.model[key] = self.model.pop(key)
            assert found == value

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule(key=keys)
    def delete(self, key: str) -> None:
        asyncio.run(self.store.delete(key))
        self.model.pop(key, None)

    def teardown(self) -> None:
        assert len(self.store) <= self.LIMIT


TestLru = Lru.TestCase


@given(st.lists(st.sampled_from("abcdef"), max_size=30), st.integers(1, 4))
def test_an_update_evicts_nobody(keys: list[str], limit: int) -> None:
    """Only a new key at capacity makes another go."""

    async def run() -> None:
        store = MemoryStore(MemoryConfig(max_entries=limit))
        for key in keys:
            before = {known async for known, _ in store.scan("")}
            await store.set(key, b"", ttl=60)
            after = {known async for known, _ in store.scan("")}
            assert len(before - after) == (key not in before and len(before) == limit)

    asyncio.run(run())
