"""Commits: off the path, one transaction, bounded in number and in time, and never a fault of the request's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from pixiu_py.filters.llm.promptcache import commit
from pixiu_py.filters.llm.promptcache.classify import Outcome
from pixiu_py.filters.llm.promptcache.commit import Commits
from pixiu_py.filters.llm.promptcache.usage import Split
from pixiu_py.stores.promptcache.base import Scope, Write
from tests.fakes.promptcache import Index

SCOPE = Scope("alice", "m", "v")
EARNED = Outcome(Split(1, 2), SCOPE, (Write(b"w" * 32, 3, "5m"),), (Write(b"s" * 32, 1, "1h"),))


class Slow(Index):
    """An index that commits when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.go = asyncio.Event()

    async def commit(self, scope: Scope, writes: Sequence[Write], slides: Sequence[Write], now: float) -> None:
        self.asked.set()
        await self.go.wait()
        await super().commit(scope, writes, slides, now)


def commits(index: Index, results: list[str], most: int = 10, seconds: float = 5.0) -> Commits:
    return Commits(index, most, seconds, lambda: 7.0, results.append)


async def test_writes_and_slides_are_one_commit_at_its_own_time() -> None:
    index, results = Index(), list[str]()
    it = commits(index, results)
    it.submit(EARNED)
    await it.settled(SCOPE)
    assert index.commits == [(SCOPE, EARNED.writes, EARNED.slides, 7.0)]
    assert results == ["ok"]
    await it.close()


@pytest.mark.parametrize("outcome", [Outcome(), Outcome(Split(), SCOPE), Outcome(skipped="index", degraded=True)])
async def test_nothing_earned_is_nothing_to_do(outcome: Outcome) -> None:
    index, results = Index(), list[str]()
    it = commits(index, results)
    it.submit(outcome)
    await it.close()
    assert (index.commits, results) == ([], [])


async def test_what_fails_is_counted_and_forgotten() -> None:
    """Each is counted, but not each told: an index that is away fails for every request."""
    index, results = Index(), list[str]()
    index.fails = True
    it = commits(index, results)
    with capture_logs() as logs:
        for _ in range(5):
            it.submit(EARNED)
        await it.close()
    assert results == ["failed"] * 5
    assert [(entry["event"], entry["lost"]) for entry in logs] == [("prompt cache: commits were lost", 1)]


async def test_what_takes_too_long_is_given_up() -> None:
    results = list[str]()
    it = commits(Slow(), results, seconds=0.01)
    it.submit(EARNED)
    await it.settled(SCOPE)
    assert results == ["timeout"]
    await it.close()


async def test_only_so_many_run_at_a_time() -> None:
    index, results = Slow(), list[str]()
    it = commits(index, results, most=2)
    for _ in range(5):
        it.submit(EARNED)
    assert results == ["dropped"] * 3
    index.go.set()
    await it.settled(SCOPE)
    assert results == ["dropped"] * 3 + ["ok"] * 2
    await it.close()


async def test_only_the_commits_of_the_same_scope_are_waited_for() -> None:
    index, results = Slow(), list[str]()
    it = commits(index, results)
    it.submit(EARNED)
    await index.asked.wait()
    await it.settled(SCOPE._replace(principal="bob"))
    assert results == []
    index.go.set()
    await it.close()


async def test_a_commit_that_hangs_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "SETTLING", 0.01)
    index, results = Slow(), list[str]()
    it = commits(index, results)
    it.submit(EARNED)
    await it.settled(SCOPE)
    assert results == []
    index.go.set()
    await it.close()
    assert results == ["ok"]


async def test_closing_lets_them_end() -> None:
    index, results = Slow(), list[str]()
    it = commits(index, results)
    it.submit(EARNED)
    asyncio.get_running_loop().call_later(0.01, index.go.set)
    await it.close()
    assert results == ["ok"]
    assert it._under_way == {}
