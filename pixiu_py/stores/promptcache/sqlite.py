"""The prefix index in a SQLite file: shared by the processes of one machine, and still there after a restart.

A commit that was answered survives the process; with ``synchronous: normal`` a power failure may take the last ones.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from msgspec import Meta

from pixiu_py.config.types import Duration
from pixiu_py.registry import Family, plugin
from pixiu_py.stores.promptcache.base import TIERS, Entry, PrefixIndex, Scope, Write, entries_of, steps, stored_scope
from pixiu_py.stores.schema import Schema
from pixiu_py.stores.sqlite_file import SqliteConfig, SqliteFile, Transaction

_SCHEMA = Schema(
    "prefix_index",
    (
        (
            """CREATE TABLE prompt_prefixes (
                principal TEXT NOT NULL,
                model TEXT NOT NULL,
                tokenizer TEXT NOT NULL,
                hash BLOB NOT NULL,
                tokens INTEGER NOT NULL,
                ttl INTEGER NOT NULL CHECK (ttl IN (300, 3600, 86400)),
                expires_at REAL NOT NULL,
                PRIMARY KEY (principal, model, tokenizer, hash)
            ) WITHOUT ROWID""",
            "CREATE INDEX prompt_prefixes_expires_at ON prompt_prefixes (expires_at)",
        ),
    ),
)
_LOOKUP = """SELECT hash, tokens, ttl, expires_at FROM prompt_prefixes
    WHERE principal = ? AND model = ? AND tokenizer = ? AND expires_at > ? AND hash IN ({})"""
#: ``merged`` in SQL: columns without a prefix are those of the row that is there.
_COMMIT = """INSERT INTO prompt_prefixes
    VALUES (:principal, :model, :tokenizer, :hash, :tokens, :ttl, :now + :ttl)
    ON CONFLICT DO UPDATE SET
        tokens = CASE WHEN :slide AND expires_at > :now THEN tokens ELSE excluded.tokens END,
        ttl = CASE WHEN expires_at > :now THEN max(ttl, excluded.ttl) ELSE excluded.ttl END,
        expires_at = CASE WHEN expires_at > :now THEN max(expires_at, :now + max(ttl, excluded.ttl))
            ELSE excluded.expires_at END"""
_SWEEP = """DELETE FROM prompt_prefixes WHERE (principal, model, tokenizer, hash) IN
    (SELECT principal, model, tokenizer, hash FROM prompt_prefixes WHERE expires_at <= ? LIMIT ?)"""


class SqliteIndexConfig(SqliteConfig, frozen=True):
    """Keys of the SQLite index."""

    # An answer may wait for a look-up: it gives up sooner than others do.
    timeout: Annotated[Duration, Meta(gt=0, description="Longest time for one operation, waiting included.")] = 1.0
    busy_timeout: Annotated[Duration, Meta(gt=0, description="Wait this long for another process that writes.")] = 0.5


@plugin(Family.PREFIX_INDEX, "sqlite")
class SqliteIndex(PrefixIndex):
    """Remembers prefixes in a file that the workers of one machine share."""

    Config: ClassVar[type[SqliteIndexConfig]] = SqliteIndexConfig

    def __init__(self, config: SqliteIndexConfig) -> None:
        super().__init__(config)
        self._file = SqliteFile(config, _SCHEMA)

    async def start(self) -> None:
        """See ``PrefixIndex.start``."""
        await self._file.start()

    async def close(self) -> None:
        """See ``PrefixIndex.close``."""
        await self._file.close()

    async def lookup(self, scope: Scope, hashes: Sequence[bytes], now: float) -> Mapping[bytes, Entry]:
        """See ``PrefixIndex.lookup``."""
        if not hashes:
            return {}
        query = _LOOKUP.format(",".join("?" * len(hashes)))
        values = (*stored_scope(scope), now, *hashes)
        rows = await self._file.run(lambda connection: connection.execute(query, values).fetchall())
        return entries_of(rows)

    async def commit(self, scope: Scope, writes: Sequence[Write], slides: Sequence[Write], now: float) -> None:
        """See ``PrefixIndex.commit``."""
        rows = [
            {
                **stored_scope(scope)._asdict(),
                "hash": write.hash,
                "tokens": write.tokens,
                "ttl": TIERS[write.tier],
                "slide": slide,
                "now": now,
            }
            for write, slide in steps(writes, slides)
        ]
        if rows:
            await self._file.run(lambda connection: _commit(connection, rows))

    async def sweep(self, now: float, limit: int) -> int:
        """See ``PrefixIndex.sweep``."""
        return await self._file.run(lambda connection: connection.execute(_SWEEP, (now, limit)).rowcount)


def _commit(connection: sqlite3.Connection, rows: list[dict[str, object]]) -> None:
    with Transaction(connection):
        connection.executemany(_COMMIT, rows)
