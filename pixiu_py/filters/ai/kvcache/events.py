"""vLLM's KV events, from msgpack to what the block index understands. Pure.

A message is ``[timestamp, [events], rank]``. An event is a map with its ``type``; older vLLM wrote arrays in the same
order of fields. Block hashes are numbers or bytes, as the engine is configured; they mean something to that engine only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

Hash = int | bytes
#: A cache within an engine: where it is (``GPU``), and the number of the group of layers.
Place = tuple[str, int]

#: Groups of layers whose blocks, all present, mean that a prefix need not be computed. Others keep a window only.
_WHOLE = frozenset((None, "full_attention", "mla_attention", "sink_full_attention"))
_STORED = [
    *("type", "block_hashes", "parent_block_hash", "token_ids", "block_size", "lora_id"),
    *("medium", "lora_name", "extra_keys", "group_idx", "kv_cache_spec_kind"),
]
_REMOVED = ["type", "block_hashes", "medium", "group_idx"]


class BadMessage(ValueError):
    """A message that is none of vLLM's."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Blocks that an engine has now, each the next one's parent."""

    place: Place
    hashes: tuple[Hash, ...]
    #: The block before the first; None: it begins a prompt.
    parent: Hash | None
    #: Tokens of each block.
    blocks: tuple[tuple[int, ...], ...]
    #: What else, besides the tokens, makes each block what it is: adapter, images, salt. Empty for most.
    extras: tuple[bytes, ...]
    size: int
    adapter: str = ""


@dataclass(frozen=True, slots=True)
class Removed:
    """Blocks that an engine has no more."""

    place: Place
    hashes: tuple[Hash, ...]


@dataclass(frozen=True, slots=True)
class Cleared:
    """An engine has emptied its cache."""


Event = Stored | Removed | Cleared


@dataclass(frozen=True, slots=True)
class Batch:
    """One message. ``time`` is the engine's clock; ``rank`` tells apart the parts of a data-parallel engine."""

    time: float
    events: tuple[Event, ...]
    rank: int = 0


def batch_of(payload: bytes) -> Batch:
    """Decode a message. Raises ``BadMessage``. Events of kinds that tell nothing about prefixes are left out."""
    try:
        time, events, *more = msgspec.msgpack.decode(payload)
        rank = more[0] if more and more[0] is not None else 0
        found = tuple(event for event in map(_event, events) if event is not None)
        return Batch(float(time), found, int(rank))
    except BadMessage:
        raise
    except (msgspec.DecodeError, LookupError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadMessage(str(error)) from error


def extra_of(adapter: str = "", salt: str = "", others: Sequence[Any] = ()) -> bytes:
    """What makes a block differ from one with the same tokens, as bytes; empty for nothing. In vLLM's order."""
    parts = [*([adapter] if adapter else []), *others, *([salt] if salt else [])]
    return msgspec.msgpack.encode(parts) if parts else b""


def _event(event: Any) -> Event | None:
    kind = event["type"] if isinstance(event, dict) else event[0]
    if kind == "BlockStored":
        return _stored(_fields(event, _STORED))
    if kind == "BlockRemoved":
        fields = _fields(event, _REMOVED)
        return None if fields.get("locality") == "REMOTE" else Removed(_place(fields), _hashes(fields))
    return Cleared() if kind == "AllBlocksCleared" else None


def _fields(event: Any, names: list[str]) -> dict[str, Any]:
    return event if isinstance(event, dict) else dict(zip(names, event, strict=False))


def _stored(fields: dict[str, Any]) -> Stored | None:
    if fields.get("kv_cache_spec_kind") not in _WHOLE or fields.get("locality") == "REMOTE":
        return None
    hashes = _hashes(fields)
    size = fields["block_size"]
    tokens = fields["token_ids"]
    if not isinstance(size, int) or size < 1 or not isinstance(tokens, list) or len(tokens) != size * len(hashes):
        raise BadMessage(f"{len(tokens)} tokens for {len(hashes)} blocks of {size}")
    if not all(isinstance(token, int) and 0 <= token < 2**32 for token in tokens):
        raise BadMessage("tokens that are no numbers of a vocabulary")
    adapter = fields.get("lora_name") or ""
    if not isinstance(adapter, str):
        raise BadMessage("the name of an adapter is no text")
    return Stored(
        place=_place(fields),
        hashes=hashes,
        parent=_hash(fields["parent_block_hash"]) if fields["parent_block_hash"] is not None else None,
        blocks=tuple(tuple(tokens[start : start + size]) for start in range(0, len(tokens), size)),
        extras=_extras(fields.get("extra_keys"), adapter, len(hashes)),
        size=size,
        adapter=adapter,
    )


def _extras(keys: Any, adapter: str, count: int) -> tuple[bytes, ...]:
    if keys is None:  # older vLLM tells the adapter only
        return (extra_of(adapter),) * count
    if len(keys) != count:
        raise BadMessage(f"{len(keys)} extra keys for {count} blocks")
    return tuple(extra_of(others=key or ()) for key in keys)


def _place(fields: dict[str, Any]) -> Place:
    return str(fields.get("medium") or "GPU"), int(fields.get("group_idx") or 0)


def _hashes(fields: dict[str, Any]) -> tuple[Hash, ...]:
    return tuple(map(_hash, fields["block_hashes"]))


def _hash(value: Any) -> Hash:
    if isinstance(value, bytes) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise BadMessage("a block hash is neither a number nor bytes")
