"""The prefix index in PostgreSQL: shared by the workers of several machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from msgspec import Meta

from pixiu_py.config.types import Duration
from pixiu_py.registry import Family, plugin
from pixiu_py.stores.postgres_pool import PostgresConfig, PostgresPool
from pixiu_py.stores.promptcache.base import TIERS, Entry, PrefixIndex, Scope, Write, entries_of, steps, stored_scope
from pixiu_py.stores.schema import Schema

_SCHEMA = Schema(
    "prefix_index",
    (
        (
            """CREATE TABLE pixiu_prompt_prefixes (
                principal TEXT NOT NULL,
                model TEXT NOT NULL,
                tokenizer TEXT NOT NULL,
                hash BYTEA NOT NULL,
                tokens BIGINT NOT NULL,
                ttl INTEGER NOT NULL CHECK (ttl IN (300, 3600, 86400)),
                expires_at DOUBLE PRECISION NOT NULL,
                PRIMARY KEY (principal, model, tokenizer, hash)
            )""",
            "CREATE INDEX pixiu_prompt_prefixes_expires_at ON pixiu_prompt_prefixes (expires_at)",
        ),
    ),
)
_LOOKUP = """SELECT hash, tokens, ttl, expires_at FROM pixiu_prompt_prefixes
    WHERE principal = $1 AND model = $2 AND tokenizer = $3 AND expires_at > $4 AND hash = ANY($5::bytea[])"""
#: ``merged`` in SQL: $7 is now, $8 whether it is a slide, ``old`` the row that is there.
_COMMIT = """INSERT INTO pixiu_prompt_prefixes AS old
    VALUES ($1, $2, $3, $4, $5, $6::int, $7::float8 + $6::int)
    ON CONFLICT (principal, model, tokenizer, hash) DO UPDATE SET
        tokens = CASE WHEN $8 AND old.expires_at > $7 THEN old.tokens ELSE excluded.tokens END,
        ttl = CASE WHEN old.expires_at > $7 THEN greatest(old.ttl, excluded.ttl) ELSE excluded.ttl END,
        expires_at = CASE WHEN old.expires_at > $7
            THEN greatest(old.expires_at, $7 + greatest(old.ttl, excluded.ttl)) ELSE excluded.expires_at END"""
#: What another process is sweeping or extending at this moment is left to it.
_SWEEP = """DELETE FROM pixiu_prompt_prefixes WHERE (principal, model, tokenizer, hash) IN
    (SELECT principal, model, tokenizer, hash FROM pixiu_prompt_prefixes WHERE expires_at <= $1
     LIMIT $2 FOR UPDATE SKIP LOCKED)"""


class PostgresIndexConfig(PostgresConfig, frozen=True):
    """Keys of the PostgreSQL index."""

    # An answer may wait for a look-up: it gives up sooner than others do.
    timeout: Annotated[Duration, Meta(gt=0, description="Longest time for one operation, retries included.")] = 1.0
    connect_timeout: Annotated[Duration, Meta(gt=0, description="How long making a connection may take.")] = 0.5


@plugin(Family.PREFIX_INDEX, "postgres")
class PostgresIndex(PrefixIndex):
    """Remembers prefixes in a database that several machines share."""

    Config: ClassVar[type[PostgresIndexConfig]] = PostgresIndexConfig

    def __init__(self, config: PostgresIndexConfig) -> None:
        super().__init__(config)
        self._pool = PostgresPool(config, _SCHEMA)

    async def start(self) -> None:
        """See ``PrefixIndex.start``."""
        await self._pool.start()

    async def close(self) -> None:
        """See ``PrefixIndex.close``."""
        await self._pool.close()

    async def lookup(self, scope: Scope, hashes: Sequence[bytes], now: float) -> Mapping[bytes, Entry]:
        """See ``PrefixIndex.lookup``."""
        if not hashes:
            return {}
        values = (*stored_scope(scope), now, list(hashes))
        rows = await self._pool.run(lambda connection: connection.fetch(_LOOKUP, *values))
        return entries_of(rows)

    async def commit(self, scope: Scope, writes: Sequence[Write], slides: Sequence[Write], now: float) -> None:
        """See ``PrefixIndex.commit``."""
        owner = stored_scope(scope)
        rows = [
            (*owner, write.hash, write.tokens, TIERS[write.tier], now, slide) for write, slide in steps(writes, slides)
        ]
        if rows:
            await self._pool.run(lambda connection: connection.executemany(_COMMIT, rows))

    async def sweep(self, now: float, limit: int) -> int:
        """See ``PrefixIndex.sweep``."""
        status = await self._pool.run(lambda connection: connection.execute(_SWEEP, now, limit))
        return int(status.removeprefix("DELETE "))
