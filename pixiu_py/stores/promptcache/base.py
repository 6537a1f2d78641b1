"""The contract of a prefix index: what a principal has marked, found again by its hash until its time is over.

The index is a cache, not a ledger: an entry that is lost is a miss, and the next request writes it again. Times are Unix
seconds and come from whoever asks, so that expiry is computed and compared with one clock. An index that cannot be
reached raises ``StoreError``; the filter goes on without.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

from pixiu_py.config.types import Empty, KindRef, Model
from pixiu_py.registry import Family
from pixiu_py.stores.text import storable

#: How long an entry lives after it was last used.
Tier = Literal["5m", "1h", "24h"]
TIERS: dict[Tier, int] = {"5m": 300, "1h": 3600, "24h": 86400}
#: Seconds → tier.
TIER_OF: dict[int, Tier] = {seconds: tier for tier, seconds in TIERS.items()}

#: A part of a scope that has more characters is stored as a digest.
_LONGEST = 256


class Scope(NamedTuple):
    """Whose entries, and what they were counted for: entries of different scopes never meet."""

    principal: str
    #: The model that was asked, not the one that the body names.
    model: str
    #: Version of the tokenizer that counted: another one counts differently.
    tokenizer: str


class Entry(NamedTuple):
    """One cached prefix."""

    #: SHA-256 over the prefix, 32 bytes.
    hash: bytes
    #: Tokens of the whole prefix.
    tokens: int
    tier: Tier
    #: Unix seconds; an entry is live while this is later than now.
    expires_at: float


class Write(NamedTuple):
    """A prefix to be stored, or one that was read and lives on. Its expiry is computed when it is committed."""

    hash: bytes
    tokens: int
    tier: Tier


def longer(one: Tier, other: Tier) -> Tier:
    """The tier that lives longer."""
    return one if TIERS[one] >= TIERS[other] else other


def merged(old: Entry | None, write: Write, now: float, *, slide: bool) -> Entry:
    """What stands in the index after ``write``: the rule that every backend follows.

    A live entry is upgraded by a longer tier and never shortened, neither in tier nor in time. A slide (an entry that
    was read) keeps the live entry's token count. What has died or been dropped since it was read is stored anew: it was
    in use while the answer was made.
    """
    if old is None or old.expires_at <= now:
        return Entry(write.hash, write.tokens, write.tier, now + TIERS[write.tier])
    tier = longer(old.tier, write.tier)
    return Entry(write.hash, old.tokens if slide else write.tokens, tier, max(old.expires_at, now + TIERS[tier]))


def steps(writes: Sequence[Write], slides: Sequence[Write]) -> list[tuple[Write, bool]]:
    """What a commit has to do, each hash once and in the order of the hashes: (write, whether it is a slide).

    Of several for one hash the longest tier counts, and a write before a slide. With one order for everybody no two
    commits wait for each other.
    """
    planned: dict[bytes, tuple[Write, bool]] = {}
    for slide, group in ((True, slides), (False, writes)):
        for write in group:
            before = planned.get(write.hash)
            tier = longer(write.tier, before[0].tier) if before else write.tier
            planned[write.hash] = (Write(write.hash, write.tokens, tier), slide)
    return [planned[hash_] for hash_ in sorted(planned)]


def stored_scope(scope: Scope) -> Scope:
    """``scope`` in texts that every database takes; scopes that differ stay different."""
    return Scope(*(storable(text, _LONGEST) for text in scope))


def entries_of(rows: Iterable[Sequence[Any]]) -> dict[bytes, Entry]:
    """What a database has found, by hash: rows of hash, tokens, seconds of the tier, expiry."""
    return {hash_: Entry(hash_, tokens, TIER_OF[ttl], expires_at) for hash_, tokens, ttl, expires_at in rows}


class PrefixIndex:
    """Base of prefix indexes. Every method raises ``StoreError`` when the index does not do what it was asked."""

    #: The model of its keys beside ``type``.
    Config: ClassVar[type[Model]] = Empty

    def __init__(self, config: Any) -> None:
        self.config = config

    async def start(self) -> None:
        """Open it. Raises ``StartError`` for what only another configuration can mend, such as a folder that is not there."""

    async def close(self) -> None:
        """Release what ``start`` opened."""

    async def lookup(self, scope: Scope, hashes: Sequence[bytes], now: float) -> Mapping[bytes, Entry]:
        """The live ones of ``hashes``, by hash. No hashes: nothing is asked."""
        raise NotImplementedError

    async def commit(self, scope: Scope, writes: Sequence[Write], slides: Sequence[Write], now: float) -> None:
        """Store all or nothing, as ``merged`` says. Give ``now`` at commit time: a long answer ages no entry.

        ``writes`` are new prefixes; ``slides`` every read match on the path, each with the longer of its own tier and
        the marker's.
        """
        raise NotImplementedError

    async def sweep(self, now: float, limit: int) -> int:
        """Remove up to ``limit`` entries that are over; how many it were. Backends that expire by themselves do nothing.

        ``sweep.Sweeper`` asks for it again and again.
        """
        raise NotImplementedError


class IndexRef(KindRef, frozen=True):
    """Where cached prefixes are remembered."""

    family: ClassVar[Family] = Family.PREFIX_INDEX
