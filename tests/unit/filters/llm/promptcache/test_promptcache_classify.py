"""What is read, what is written, what neither; and that a fault costs money and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from pixiu_py.filters.llm.promptcache import classify as module
from pixiu_py.filters.llm.promptcache.blocks import Breakpoint
from pixiu_py.filters.llm.promptcache.classify import Classifier, Outcome, split_of
from pixiu_py.filters.llm.promptcache.prefixes import hashes
from pixiu_py.filters.llm.promptcache.usage import Split
from pixiu_py.stores.promptcache.base import Scope, Tier, Write
from tests.fakes.promptcache import Index, Words, chat, mark, prompt, text, user

SCOPE = Scope("alice", "m", "words-1")
NOW = 1000.0


class Bench:
    """A classifier on an index and a counter that can be looked into."""

    def __init__(self) -> None:
        self.index = Index()
        self.counter = Words()
        self.now = NOW
        self.classifier = Classifier(self.index, self.counter, lambda: self.now)

    async def outcome(
        self, document: dict[str, Any], floor: int = 0, principal: str = "alice", model: str = "m"
    ) -> Outcome:
        return await self.classifier.classify(principal, model, floor, prompt(document))

    async def commit(self, outcome: Outcome) -> None:
        assert outcome.scope is not None
        await self.index.commit(outcome.scope, outcome.writes, outcome.slides, self.now)

    async def remember(self, document: dict[str, Any], block: int, tokens: int, tier: Tier = "5m") -> bytes:
        found = hashes(prompt(document).blocks)[block]
        await self.index.commit(SCOPE, [Write(found, tokens, tier)], [], self.now)
        return found


@pytest.fixture
def bench() -> Bench:
    return Bench()


PLAIN = chat(user(text("one two three", "")), user(text("tail")))


async def test_what_was_never_seen_is_written(bench: Bench) -> None:
    outcome = await bench.outcome(PLAIN)
    assert outcome.split == Split(0, 3)
    assert outcome.scope == SCOPE
    assert outcome.writes == (Write(hashes(prompt(PLAIN).blocks)[0], 3, "5m"),)
    assert outcome.slides == ()
    assert outcome.name == "create_only"


async def test_what_was_seen_is_read_and_nobody_counts(bench: Bench) -> None:
    """No floor either: it was above it when it was written."""
    found = await bench.remember(PLAIN, 0, 50)
    outcome = await bench.outcome(PLAIN, floor=10_000)
    assert outcome.split == Split(50)
    assert (outcome.writes, outcome.slides) == ((), (Write(found, 50, "5m"),))
    assert bench.counter.asked == []
    assert outcome.name == "read"


async def test_what_is_new_behind_the_read_is_written(bench: Bench) -> None:
    document = chat(user(text("one two", "")), user(text("three", "1h")), user(text("four five", "")))
    await bench.remember(document, 0, 100)
    outcome = await bench.outcome(document)
    assert outcome.split == Split(100, 2, 1)
    assert [(write.tokens, write.tier) for write in outcome.writes] == [(101, "1h"), (103, "5m")]
    assert bench.counter.asked == [["three", "four five"]]
    assert outcome.name == "read_and_create"


async def test_the_longest_match_is_read(bench: Bench) -> None:
    document = chat(user(text("a", "")), user(text("b", "")))
    await bench.remember(document, 0, 10)
    await bench.remember(document, 1, 20)
    assert (await bench.outcome(document)).split == Split(20)


async def test_an_earlier_breakpoint_is_found_when_the_conversation_has_grown(bench: Bench) -> None:
    """Automatic marking: the mark moves on, and what it marked before is found on the way back."""
    first = chat(user(text("a b c")), cache_control=mark())
    await bench.commit(await bench.outcome(first))
    second = chat(*first["messages"], {"role": "assistant", "content": "d"}, user(text("e f")), cache_control=mark())
    outcome = await bench.outcome(second)
    assert outcome.split == Split(3, 3)


async def test_nineteen_blocks_back_are_found_and_twenty_are_not(bench: Bench) -> None:
    for distance, expected in ((19, Split(7, 19)), (20, Split(0, 21))):
        document = chat(user(*[text("w")] * distance, text("w", ""), text("unmarked")))
        await bench.remember(document, 0, 7)
        assert (await bench.outcome(document)).split == expected


async def test_below_the_floor_nothing_is_cached(bench: Bench) -> None:
    assert (await bench.outcome(PLAIN, floor=3)).split == Split(0, 3)
    outcome = await bench.outcome(PLAIN, floor=4)
    assert (outcome.split, outcome.writes, outcome.slides) == (Split(), (), ())
    assert (outcome.skipped, outcome.degraded, outcome.name) == ("below_floor", False, "zero")


async def test_below_the_floor_what_was_read_is_not_told_either(bench: Bench) -> None:
    document = chat(user(text("a", "")), user(text("b", "")))
    await bench.remember(document, 0, 1)
    assert (await bench.outcome(document, floor=100)).split == Split()


async def test_the_floor_is_about_the_deepest_breakpoint(bench: Bench) -> None:
    document = chat(user(text("a", "")), user(text("b c d", "")))
    assert [write.tokens for write in (await bench.outcome(document, floor=4)).writes] == [1, 4]


async def test_scopes_do_not_meet(bench: Bench) -> None:
    """Another principal, another model, another tokenizer: each begins anew."""
    await bench.commit(await bench.outcome(PLAIN))
    assert (await bench.outcome(PLAIN, principal="bob")).split.read == 0
    assert (await bench.outcome(PLAIN, model="other")).split.read == 0
    bench.counter.known = "words-2"
    assert (await bench.outcome(PLAIN)).split.read == 0
    bench.counter.known = "words-1"
    assert (await bench.outcome(PLAIN)).split.read == 3


async def test_what_has_expired_is_not_read(bench: Bench) -> None:
    await bench.commit(await bench.outcome(PLAIN))
    bench.now += 299
    assert (await bench.outcome(PLAIN)).split.read == 3
    bench.now += 1
    assert (await bench.outcome(PLAIN)).split.read == 0


# --- what lives on ---------------------------------------------------------------------------------------------------


async def test_every_match_on_the_path_slides(bench: Bench) -> None:
    """Not the longest one only: a system prompt lives as long as the conversation that stands on it."""
    document = chat(user(text("a", "1h")), user(text("b", "")))
    await bench.remember(document, 0, 10, "1h")
    await bench.remember(document, 1, 20)
    outcome = await bench.outcome(document)
    assert sorted((write.tokens, write.tier) for write in outcome.slides) == [(10, "1h"), (20, "5m")]


async def test_a_longer_mark_upgrades_what_is_read(bench: Bench) -> None:
    document = chat(user(text("a", "1h")))
    await bench.remember(document, 0, 10, "5m")
    outcome = await bench.outcome(document)
    assert outcome.split == Split(10)
    assert [write.tier for write in outcome.slides] == ["1h"]
    await bench.commit(outcome)
    bench.now += 3599
    assert (await bench.outcome(document)).split == Split(10)


async def test_a_shorter_mark_shortens_nothing(bench: Bench) -> None:
    document = chat(user(text("a", "")))
    await bench.remember(document, 0, 10, "1h")
    assert [write.tier for write in (await bench.outcome(document)).slides] == ["1h"]


async def test_expiry_is_counted_from_the_commit(bench: Bench) -> None:
    """A generation that takes longer than the tier does not write what is over already."""
    outcome = await bench.outcome(PLAIN)
    bench.now += 400
    await bench.commit(outcome)
    assert (await bench.outcome(PLAIN)).split == Split(3)


# --- faults ----------------------------------------------------------------------------------------------------------


async def test_an_unknown_model_is_not_cached(bench: Bench) -> None:
    bench.counter.known = None
    outcome = await bench.outcome(PLAIN)
    assert (outcome.split, outcome.skipped, outcome.degraded) == (Split(), "tokenizer_unmapped", False)
    assert bench.index.lookups == []


async def test_a_tokenizer_that_is_away_is_a_fault_of_ours(bench: Bench) -> None:
    bench.counter.fails = "version"
    outcome = await bench.outcome(PLAIN)
    assert (outcome.split, outcome.skipped, outcome.degraded) == (Split(), "tokenizer_unreachable", True)


async def test_an_index_that_is_away_is_a_fault_of_ours(bench: Bench) -> None:
    bench.index.fails = True
    outcome = await bench.outcome(PLAIN)
    assert (outcome.split, outcome.skipped, outcome.degraded, outcome.writes) == (Split(), "index", True, ())


async def test_a_read_is_kept_when_what_is_new_cannot_be_counted(bench: Bench) -> None:
    document = chat(user(text("a", "")), user(text("b", "")))
    await bench.remember(document, 0, 10)
    bench.counter.fails = "count"
    outcome = await bench.outcome(document)
    assert (outcome.split, outcome.skipped, outcome.degraded) == (Split(10), "tokenize_failed", True)
    assert outcome.writes == ()
    assert len(outcome.slides) == 1


async def test_estimates_are_said_to_be_such(bench: Bench) -> None:
    bench.counter.estimated = True
    assert (await bench.outcome(PLAIN)).estimated


# --- how -------------------------------------------------------------------------------------------------------------


async def test_all_breakpoints_are_looked_up_at_once(bench: Bench) -> None:
    await bench.outcome(chat(user(*[text("w", "")] * 4)))
    assert [len(asked) for asked in bench.index.lookups] == [4]


async def test_nothing_behind_the_deepest_mark_is_hashed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(module, "hashes", lambda blocks: seen.append(len(blocks)) or hashes(blocks))
    await bench.outcome(chat(user(text("a", "")), user(*[text("tail")] * 50)))
    assert seen == [1]


async def test_large_bodies_are_hashed_elsewhere_with_the_same_result(bench: Bench) -> None:
    it = prompt(PLAIN)
    small = await bench.classifier.classify("alice", "m", 0, it)
    large = await bench.classifier.classify("alice", "m", 0, it._replace(size=module.THREAD_SIZE + 1))
    assert small == large


async def test_commits_that_are_on_their_way_are_waited_for(bench: Bench) -> None:
    """Who has had an answer finds what it wrote."""
    first = await bench.outcome(PLAIN)

    async def settled(scope: Scope) -> None:
        assert scope == SCOPE
        await bench.commit(first)

    waiting = Classifier(bench.index, bench.counter, lambda: NOW, settled)
    assert (await waiting.classify("alice", "m", 0, prompt(PLAIN))).split == Split(3)


def test_counts_that_go_down_write_nothing_twice() -> None:
    points = [Breakpoint(1, "5m"), Breakpoint(2, "1h"), Breakpoint(3, "24h")]
    assert split_of(10, points, [15, 12, 20]) == Split(10, 5, 0, 5)
    assert split_of(10, points, [5, 5, 5]) == Split(10)
