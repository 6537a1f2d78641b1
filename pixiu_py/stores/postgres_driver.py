"""What we use of PostgreSQL's driver, ``asyncpg``: its connections, and what its errors mean."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from pixiu_py.errors import StartError
from pixiu_py.stores.schema import Schema

#: Key of the lock under which tables are made: "pixi" in ASCII.
_LOCK = 0x70697869
_VERSIONS = "CREATE TABLE IF NOT EXISTS pixiu_schema (component TEXT PRIMARY KEY, version INTEGER NOT NULL)"
_VERSION = "SELECT version FROM pixiu_schema WHERE component = $1"
_SET_VERSION = (
    "INSERT INTO pixiu_schema VALUES ($1, $2) ON CONFLICT (component) DO UPDATE SET version = excluded.version"
)


class Connection(Protocol):
    """What we use of asyncpg's connections."""

    async def fetch(self, query: str, *args: Any) -> Sequence[Sequence[Any]]:
        """Rows."""

    async def fetchval(self, query: str, *args: Any) -> Any:
        """One value."""

    async def execute(self, query: str, *args: Any) -> str:
        """A statement's status, such as ``DELETE 3``."""

    async def executemany(self, command: str, args: Sequence[Sequence[Any]]) -> None:
        """One statement for each of ``args``: all or nothing."""

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """All or nothing."""

    def is_closed(self) -> bool:
        """True when nothing can be asked any more."""

    def terminate(self) -> None:
        """Close without a goodbye."""

    async def close(self, *, timeout: float) -> None:
        """Close."""


async def migrate(connection: Connection, schema: Schema) -> None:
    """Run the migrations that the database has not seen; only one process at a time does. Raises ``StartError``."""
    async with connection.transaction():
        await connection.fetchval("SELECT pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute(_VERSIONS)
        done = await connection.fetchval(_VERSION, schema.component) or 0
        pending = schema.unseen(done)
        for migration in pending:
            for statement in migration:
                await connection.execute(statement)
        if pending:
            await connection.execute(_SET_VERSION, schema.component, done + len(pending))


def broken(error: BaseException) -> bool:
    """True when the connection is at fault, or the server is starting or stopping, and not what was asked."""
    import asyncpg

    if isinstance(error, TimeoutError):
        return False
    if isinstance(
        error,
        OSError
        | asyncpg.PostgresConnectionError
        | asyncpg.CannotConnectNowError
        | asyncpg.AdminShutdownError
        | asyncpg.CrashShutdownError
        | asyncpg.InternalClientError,  # the server hung up while the driver was about to ask
    ):
        return True
    return "Authentication timed out" in str(error) or (
        isinstance(error, asyncpg.InterfaceError) and "closed" in str(error)
    )


def errors() -> tuple[type[Exception], ...]:
    """What can go wrong: the system's errors, the driver's, values that it does not take, tables that are too new."""
    import asyncpg

    return (OSError, ValueError, StartError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


def refused(error: BaseException | None) -> bool:
    """True when waiting will not help: the password, the user or the database is wrong, or the tables are too new."""
    import asyncpg

    return isinstance(
        error,
        StartError | asyncpg.InvalidAuthorizationSpecificationError | asyncpg.InvalidCatalogNameError,
    )
