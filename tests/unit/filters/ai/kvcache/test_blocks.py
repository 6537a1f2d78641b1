"""The block index: never more matches than what is stored, removal removes, and a bound that holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import orjson
from hypothesis import given
from hypothesis import strategies as st

from pixiu_py.filters.ai.kvcache.blocks import BlockIndex, Blocks
from pixiu_py.filters.ai.kvcache.events import Cleared, Event, Removed, Stored, batch_of, extra_of
from tests.fakes import engine_data

GPU = ("GPU", 0)
RECORDS = [orjson.loads(line) for line in engine_data.text("vllm_kv_events.jsonl").splitlines()]


def stored(
    hashes: Iterable[int], tokens: Sequence[int], parent: int | None = None, size: int = 2, extra: bytes = b""
) -> Stored:
    """Blocks of ``size`` tokens."""
    blocks = tuple(tuple(tokens[start : start + size]) for start in range(0, len(tokens), size))
    return Stored(GPU, tuple(hashes), parent, blocks, (extra,) * len(blocks), size)


def index_with(*events: Event, max_blocks: int = 100, instance: str = "a") -> BlockIndex:
    """An index that has heard these events of one engine."""
    index = BlockIndex(max_blocks)
    index.apply(instance, 0, events)
    return index


def test_recorded_life_of_a_cache() -> None:
    """What vLLM told while it was used, and what it held after each message."""
    index = BlockIndex(1000)
    generated = RECORDS[2]["payload"][1][0]["token_ids"]
    long = [*range(100, 164), *range(300, 332), *generated]
    expected = [
        {"plain": 96, "long": 64},
        {"plain": 96, "long": 96},
        {"plain": 96, "long": 128},
        {"plain": 0, "long": 0},
    ]
    for record, held in zip(RECORDS, expected, strict=True):
        index.apply("inst-a", 0, batch_of(bytes.fromhex(record["payload_hex"])).events)
        assert index.lookup(range(100, 200)).get("inst-a", 0) == held["plain"]
        assert index.lookup(long).get("inst-a", 0) == held["long"]
    assert len(index) == len(RECORDS[3]["payload"][1][-1]["block_hashes"])
    assert index.lookup(range(2000, 2500))["inst-a"] == 192


def test_whole_blocks_from_the_first_on() -> None:
    """A block counts only behind all blocks before it; a part of a block does not count."""
    index = index_with(stored([1, 2, 3], [1, 2, 3, 4, 5, 6]))
    assert index.lookup([1, 2, 3, 4, 5]) == {"a": 4}
    assert index.lookup([1, 2, 3, 4, 5, 6, 7, 8]) == {"a": 6}
    assert index.lookup([3, 4, 5, 6]) == {}
    assert index.lookup([1]) == {}
    index.apply("a", 0, [Removed(GPU, (2,))])
    assert index.lookup([1, 2, 3, 4, 5, 6]) == {"a": 2}


def test_engines_with_other_hashes_and_block_sizes() -> None:
    """Each engine hashes in its own way, into blocks of its own size; the tokens are what they have in common."""
    index = index_with(stored([1, 2], [1, 2, 3, 4]))
    index.apply("b", 0, [stored([91, 92, 93, 94], [1, 2, 3, 4], size=1)])
    assert index.lookup([1, 2, 3]) == {"a": 2, "b": 3}


def test_ranks_of_one_engine() -> None:
    """Each part of a data-parallel engine has a cache of its own; the engine's best one counts."""
    index = BlockIndex(100)
    index.apply("a", 0, [stored([1], [1, 2])])
    index.apply("a", 1, [stored([1, 2], [1, 2, 3, 4])])
    assert index.lookup([1, 2, 3, 4]) == {"a": 4}
    index.apply("a", 1, [Cleared()])
    assert index.lookup([1, 2, 3, 4]) == {"a": 2}


def test_same_block_in_two_places_of_an_engine() -> None:
    """Offloaded and removed from the GPU, it is still held; removed everywhere, it is not."""
    cpu = ("CPU", 0)
    event = stored([1], [1, 2])
    index = index_with(event, Stored(cpu, event.hashes, None, event.blocks, event.extras, 2), Removed(GPU, (1,)))
    assert index.lookup([1, 2]) == {"a": 2}
    index.apply("a", 0, [Removed(cpu, (1,))])
    assert (index.lookup([1, 2]), len(index)) == ({}, 0)


def test_a_parent_may_lie_in_another_place() -> None:
    """A prompt goes on on the GPU behind blocks that were offloaded."""
    first = stored([1], [1, 2])
    index = index_with(Stored(("CPU", 0), first.hashes, None, first.blocks, first.extras, 2), stored([2], [3, 4], 1))
    assert index.lookup([1, 2, 3, 4]) == {"a": 4}


def test_adapters_and_salts_are_caches_apart() -> None:
    """Equal tokens under an adapter, or behind a salt, are other blocks."""
    first = stored([1], [1, 2], extra=extra_of("lora", "salt"))
    index = index_with(Stored(GPU, first.hashes, None, first.blocks, first.extras, 2, adapter="lora"))
    assert index.lookup([1, 2], "lora", "salt") == {"a": 2}
    for model, salt in (("lora", ""), ("", "salt"), ("base", "")):
        assert index.lookup([1, 2], model, salt) == {}


def test_a_block_without_its_parent_is_left_out() -> None:
    """After a lost message nobody can tell which prompt it belongs to."""
    index = index_with(stored([5, 6], [1, 2, 3, 4], parent=4))
    assert (index.lookup([1, 2, 3, 4]), len(index), index.orphans) == ({}, 0, 2)


def test_the_bound_leaves_out_and_is_free_again() -> None:
    """A full index takes nothing more, of any engine, until something is removed."""
    index = index_with(stored([1, 2, 3], [1, 2, 3, 4, 5, 6]), max_blocks=2)
    index.apply("b", 0, [stored([1], [1, 2])])
    assert (index.lookup([1, 2, 3, 4, 5, 6]), len(index), index.overflow) == ({"a": 4}, 2, 2)
    index.apply("a", 0, [Removed(GPU, (2,))])
    index.apply("b", 0, [stored([1], [1, 2])])
    assert index.lookup([1, 2]) == {"a": 2, "b": 2}


def test_another_block_size_is_another_cache() -> None:
    """An engine that was restarted with other options; its old blocks say nothing any more."""
    index = index_with(stored([1], [1, 2]), stored([2], [1, 2, 3], size=3))
    assert (index.lookup([1, 2, 3]), len(index)) == ({"a": 3}, 1)


def test_forgetting_one_engine() -> None:
    """The others' blocks stay."""
    index = index_with(stored([1], [1, 2]))
    index.apply("b", 0, [stored([1], [1, 2])])
    index.forget("a", 0)
    index.forget("never heard of", 0)
    assert (index.lookup([1, 2]), len(index)) == ({"b": 2}, 1)


def test_engines_are_bounded() -> None:
    """Names come over the network."""
    index = BlockIndex(100, max_sources=2)
    for name in "abc":
        index.apply(name, 0, [stored([1], [1, 2])])
    assert index.lookup([1, 2]) == {"a": 2, "b": 2}
    index.drop("a", 0)
    index.drop("nobody", 0)
    index.apply("c", 0, [stored([1], [1, 2])])
    assert index.lookup([1, 2]) == {"b": 2, "c": 2}
    assert len(index) == 2


# --- any sequence ----------------------------------------------------------------------------------------------------

_HASHES = st.integers(0, 5)
_EVENTS = st.lists(
    st.one_of(
        st.builds(
            lambda hashes, first, parent: stored(hashes, [first, first + 1] * len(hashes), parent),
            st.lists(_HASHES, min_size=1, max_size=3, unique=True),
            st.integers(0, 2),
            st.none() | _HASHES,
        ),
        st.builds(lambda hashes: Removed(GPU, tuple(hashes)), st.lists(_HASHES, max_size=3)),
        st.just(Cleared()),
    ),
    max_size=30,
)


@given(_EVENTS, st.integers(0, 6))
def test_any_sequence_stays_consistent(events: list[Event], limit: int) -> None:
    """Whatever is told in whatever order: the bound holds, the counts agree, nothing is held that was not stored."""
    index = BlockIndex(limit, root=0)
    told: set[int] = set()
    for event in events:
        index.apply("a", 0, [event])
        blocks = index._sources["a", 0]
        assert len(index) == len(blocks) == sum(blocks.held.values()) <= limit
        assert all(count > 0 for count in blocks.held.values())
        if isinstance(event, Stored):
            told.update(event.hashes)
        elif isinstance(event, Removed):
            told.difference_update(event.hashes)
        else:
            told.clear()
        assert len(index) <= len(told)
    for first in range(3):
        prompt = [first, first + 1] * 8
        assert index.lookup(prompt).get("a", 0) <= 2 * len(told)


@given(_EVENTS)
def test_removing_everything_leaves_nothing(events: list[Event]) -> None:
    """Each hash that was ever told, removed, empties the index."""
    blocks = Blocks(0)
    for event in events:
        blocks.apply(event, 1000)
    blocks.apply(Removed(GPU, tuple(range(6))), 1000)
    assert (len(blocks), blocks.held) == (0, {})
