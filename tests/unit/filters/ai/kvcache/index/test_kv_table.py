"""The table of chunks against a model that forgets nothing by itself: never more than was stored, and never too much."""

from __future__ import annotations

from hashlib import blake2b

from hypothesis import given, settings
from hypothesis import strategies as st

from pixiu_py.filters.ai.kvcache.index.table import WAYS, ChunkTable


def keys(*names: int) -> list[bytes]:
    """A chain of keys."""
    return [blake2b(repr(names[: end + 1]).encode(), digest_size=8).digest() for end in range(len(names))]


ALL = -1 & 0xFF
SLOTS = 8


def held(table: ChunkTable, chain: list[bytes], oldest: int = 1) -> dict[int, int]:
    """Slot → leading chunks."""
    return {
        slot: chunks for bits, chunks in table.lookup(chain, oldest, ALL) for slot in range(SLOTS) if bits >> slot & 1
    }


def test_each_slot_holds_its_longest_prefix() -> None:
    """One holds all, another half, a third the beginning of something else."""
    table = ChunkTable(100, SLOTS)
    table.add(keys(1, 2, 3, 4), 0, 1, 1)
    table.add(keys(1, 2), 1, 2, 1)
    table.add(keys(1, 9), 2, 3, 1)
    assert held(table, keys(1, 2, 3, 4, 5)) == {0: 4, 1: 2, 2: 1}
    assert held(table, keys(9)) == {}


def test_only_those_that_are_asked_about_are_found() -> None:
    """The bits say which."""
    table = ChunkTable(100, SLOTS)
    for slot in range(3):
        table.add(keys(1, 2), slot, slot + 1, 1)
    assert table.lookup(keys(1, 2), 1, 0b101) == [(0b101, 2)]
    assert table.lookup(keys(1, 2), 1, 0b1000) == []


def test_old_chunks_do_not_count() -> None:
    """Unless they have been used since; then only for who used them."""
    table = ChunkTable(100, SLOTS)
    table.add(keys(1, 2), 0, 10, 1)
    assert held(table, keys(1, 2), oldest=11) == {}
    table.add(keys(1), 1, 20, 11)
    assert held(table, keys(1, 2), oldest=11) == {1: 1}


def test_a_reset_slot_holds_nothing_until_it_is_added_again() -> None:
    """Also where others have used the chunk in the meantime."""
    table = ChunkTable(100, SLOTS)
    table.add(keys(1, 2), 0, 1, 1)
    table.add(keys(1, 2), 1, 2, 1)
    table.reset(0, 3)
    assert held(table, keys(1, 2)) == {1: 2}
    table.add(keys(1, 2), 1, 4, 1)
    assert held(table, keys(1, 2)) == {1: 2}
    table.add(keys(1), 0, 5, 1)
    assert held(table, keys(1, 2)) == {1: 2, 0: 1}


def test_a_full_row_gives_up_what_was_unused_longest() -> None:
    """With one row the table is a plain LRU cache."""
    table = ChunkTable(WAYS, SLOTS)
    for number in range(WAYS):
        table.add(keys(number), 0, number + 1, 1)
    table.add(keys(0), 0, 100, 1)  # used again
    table.add(keys(100), 0, 101, 1)
    assert len(table) == table.capacity == WAYS
    assert held(table, keys(0)) == {0: 1}
    assert held(table, keys(100)) == {0: 1}
    assert held(table, keys(1)) == {}


def test_a_key_that_is_found_across_two_others_is_none() -> None:
    """Keys stand side by side; the end of one and the beginning of the next may spell a third."""
    table = ChunkTable(WAYS, SLOTS)
    table.add([b"aaaabbbb"], 0, 1, 1)
    table.add([b"ccccdddd"], 0, 2, 1)
    assert held(table, [b"bbbbcccc"]) == {}


def test_more_endpoints_than_a_word_has_bits() -> None:
    """Each keeps what it holds, also when another is reset."""
    table = ChunkTable(100, 200)
    for slot in range(200):
        table.add(keys(1, 2)[: 1 + slot % 2], slot, slot + 1, 1)
    everyone = (1 << 200) - 1
    odd = sum(1 << slot for slot in range(1, 200, 2))
    assert table.lookup(keys(1, 2), 1, everyone) == [(odd, 2), (everyone ^ odd, 1)]
    table.reset(199, 300)
    table.remove(keys(1, 2), 67)
    table.add(keys(1, 2), 130, 301, 1)
    gone = 1 << 199 | 1 << 67
    assert table.lookup(keys(1, 2), 1, everyone)[0] == (odd & ~gone | 1 << 130, 2)
    assert table.lookup(keys(1, 2), 1, gone) == []


chains = st.lists(st.integers(0, 3), min_size=1, max_size=5)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), chains, st.integers(0, SLOTS - 1)),
        st.tuples(st.just("reset"), st.just([0]), st.integers(0, SLOTS - 1)),
        st.tuples(st.just("remove"), chains, st.integers(0, SLOTS - 1)),
    ),
    max_size=60,
)


@settings(max_examples=200)
@given(steps, chains, st.sampled_from([WAYS, 16, 1000]), st.integers(1, 30))
def test_never_more_than_was_stored(
    sequence: list[tuple[str, list[int], int]], asked: list[int], capacity: int, age: int
) -> None:
    """Whatever the sequence: what is found was stored, not reset since, and not too old; memory is what it was."""
    table = ChunkTable(capacity, SLOTS)
    sizes = [len(table._keys), *map(len, table._words), len(table._stamps)]
    #: (chunk key, slot) → stamp
    stored: dict[tuple[bytes, int], int] = {}
    used: dict[bytes, int] = {}
    stamp = 0
    for action, names, slot in sequence:
        stamp += 1
        if action == "add":
            table.add(keys(*names), slot, stamp, max(1, stamp - age))
            stored.update({(key, slot): stamp for key in keys(*names)})
            used.update(dict.fromkeys(keys(*names), stamp))
        elif action == "remove":
            table.remove(keys(*names), slot)
            stored = {pair: at for pair, at in stored.items() if pair[1] != slot or pair[0] not in keys(*names)}
        else:
            table.reset(slot, stamp)
            stored = {pair: at for pair, at in stored.items() if pair[1] != slot}
    oldest = max(1, stamp - age)
    for slot, chunks in held(table, keys(*asked), oldest).items():
        for key in keys(*asked)[:chunks]:
            assert (key, slot) in stored
            assert used[key] >= oldest
    if capacity == 1000:  # nothing has been pushed out: then what was stored is found, too
        for slot in range(SLOTS):
            fresh = [(key, slot) in stored and stored[key, slot] >= oldest for key in keys(*asked)]
            expected = fresh.index(False) if False in fresh else len(fresh)
            assert held(table, keys(*asked), oldest).get(slot, 0) >= expected
    assert [len(table._keys), *map(len, table._words), len(table._stamps)] == sizes
    assert len(table) <= table.capacity
