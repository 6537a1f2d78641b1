"""vLLM's KV events, byte for byte as they were recorded."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest

from pixiu_py.filters.ai.kvcache.events import BadMessage, Batch, Cleared, Removed, Stored, batch_of, extra_of
from tests.fakes import engine_data

RECORDS = [orjson.loads(line) for line in engine_data.text("vllm_kv_events.jsonl").splitlines()]
GPU = ("GPU", 0)


def _pack(*events: Any, rank: int | None = 0) -> bytes:
    return msgspec.msgpack.encode([1.5, list(events), rank])


def _stored(**changes: Any) -> dict[str, Any]:
    fields = {
        "type": "BlockStored",
        "block_hashes": [7, 8],
        "parent_block_hash": None,
        "token_ids": [1, 2, 3, 4],
        "block_size": 2,
        "lora_id": None,
        "medium": "GPU",
        "lora_name": None,
        "extra_keys": [None, None],
        "group_idx": 0,
        "kv_cache_spec_kind": "full_attention",
    }
    return {**fields, **changes}


def test_recorded_messages() -> None:
    """Cleared, stored, stored behind a known parent, stored by generation, removed leaf first."""
    first, second, third, fourth = (batch_of(bytes.fromhex(record["payload_hex"])) for record in RECORDS)
    assert first.time == RECORDS[0]["payload"][0]
    cleared, stored = first.events
    assert cleared == Cleared()
    assert isinstance(stored, Stored)
    assert stored.blocks == tuple(tuple(range(start, start + 32)) for start in (100, 132, 164))
    assert (stored.size, stored.parent, stored.extras, stored.place) == (32, None, (b"", b"", b""), GPU)
    for batch, before in ((second, stored.hashes[1]), (third, second.events[0].hashes[0])):  # type: ignore[union-attr]
        assert isinstance(batch.events[0], Stored)
        assert batch.events[0].parent == before
    *removed, last = fourth.events
    assert all(isinstance(event, Removed) for event in removed)
    assert [event.hashes[0] for event in removed][-1] == stored.hashes[0]  # type: ignore[union-attr]
    assert isinstance(last, Stored)


def test_arrays_of_older_engines() -> None:
    """The same fields in the same order, as far as that version knew them; hashes may be bytes."""
    events = (
        ["BlockStored", [b"\x01", b"\x02"], None, [1, 2, 3, 4], 2, None],
        ["BlockRemoved", [b"\x02"]],
        ["AllBlocksCleared"],
    )
    assert batch_of(msgspec.msgpack.encode([1.5, events])) == Batch(
        1.5,
        (
            Stored(GPU, (b"\x01", b"\x02"), None, ((1, 2), (3, 4)), (b"", b""), 2),
            Removed(GPU, (b"\x02",)),
            Cleared(),
        ),
    )


def test_adapters_salts_and_ranks() -> None:
    """What tells blocks with equal tokens apart is kept; it equals what a lookup makes for the same adapter and salt."""
    (event,) = batch_of(_pack(_stored(lora_name="a", extra_keys=[["a", "s"], ["a"]]), rank=3)).events
    assert isinstance(event, Stored)
    assert event.adapter == "a"
    assert event.extras == (extra_of("a", "s"), extra_of("a"))
    (old,) = batch_of(_pack(_stored(lora_name="a", extra_keys=None))).events
    assert isinstance(old, Stored)
    assert old.extras == (extra_of("a"),) * 2
    assert batch_of(_pack(rank=3)).rank == 3
    assert batch_of(_pack(rank=None)).rank == 0


@pytest.mark.parametrize(
    "event",
    [
        _stored(kv_cache_spec_kind="sliding_window"),
        _stored(locality="REMOTE"),
        {"type": "BlockRemoved", "block_hashes": [7], "medium": "GPU", "locality": "REMOTE"},
        {"type": "SomethingNew"},
    ],
)
def test_what_says_nothing_about_prefixes_is_left_out(event: dict[str, Any]) -> None:
    """A window is no prefix, another machine's block is not here, and new kinds must not stop the old ones."""
    assert batch_of(_pack(event, {"type": "AllBlocksCleared"})).events[-1] == Cleared()
    assert len(batch_of(_pack(event)).events) == 0


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode(None),
        msgspec.msgpack.encode([]),
        msgspec.msgpack.encode([1.0, 2]),
        msgspec.msgpack.encode(["x", []]),
        msgspec.msgpack.encode([1.0, [], "x"]),
        msgspec.msgpack.encode([1.0, [], float("inf")]),
        b"\x91" * 100_000,
        _pack(_stored(lora_name=["a"])),
        _pack({}),
        _pack([]),
        _pack(3),
        _pack(_stored(block_size=0)),
        _pack(_stored(block_size="2")),
        _pack(_stored(token_ids=[1, 2, 3])),
        _pack(_stored(token_ids=[1, 2, 3, -4])),
        _pack(_stored(token_ids=[1, 2, 3, 2**32])),
        _pack(_stored(block_hashes=[7, None])),
        _pack(_stored(parent_block_hash="x")),
        _pack(_stored(extra_keys=[None])),
        _pack({"type": "BlockRemoved"}),
    ],
)
def test_garbage_is_one_kind_of_error(payload: bytes) -> None:
    """Anybody who reaches the port can send anything."""
    with pytest.raises(BadMessage):
        batch_of(payload)
