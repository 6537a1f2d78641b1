"""One SQLite file, worked on by a thread of its own, so that the disk delays no request.

Processes of one machine share the file: writes take turns (WAL: readers are not disturbed), for up to ``busy_timeout``.
Work that would wait in a queue of more than ``max_pending``, or longer than ``timeout``, is refused. Every failure is a
``StoreError``, except at the start, where it is a ``StartError``.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Literal, TypeVar

from msgspec import Meta

from pixiu_py.config.types import Duration, Model, doc
from pixiu_py.errors import StartError
from pixiu_py.stores.base import StoreError
from pixiu_py.stores.schema import Schema

T = TypeVar("T")

#: Tries to switch to WAL while another process does so; SQLite itself does not wait there.
_WAL_TRIES = 100
_WAL_PAUSE = 0.02


class SqliteConfig(Model, frozen=True):
    """Keys of whatever keeps something in a SQLite file."""

    path: Annotated[str, Meta(min_length=1, description="The file, on a local disk; it is made where it is missing.")]
    timeout: Annotated[Duration, Meta(gt=0, description="Longest time for one operation, waiting included.")] = 5.0
    busy_timeout: Annotated[Duration, Meta(gt=0, description="Wait this long for another process that writes.")] = 3.0
    max_pending: Annotated[int, Meta(ge=1, description="Most operations that wait; one more is refused.")] = 1000
    synchronous: Annotated[
        Literal["normal", "full"],
        doc("full: each write survives a power failure; normal: a crash of the process only."),
    ] = "normal"


class SqliteFile:
    """A connection to a file, and the thread that uses it."""

    def __init__(self, config: SqliteConfig, schema: Schema) -> None:
        self._config = config
        self._schema = schema
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None
        self._pending = 0

    async def start(self) -> None:
        """Open the file and bring its tables up to date. Raises ``StartError``."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"sqlite-{self._schema.component}")
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._open)
        except (OSError, sqlite3.Error) as error:
            raise StartError(f"{self._schema.component} {self._config.path}: {error}") from error

    async def close(self) -> None:
        """Finish what waits, and close the file."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        closing = asyncio.get_running_loop().run_in_executor(thread, self._close)
        await asyncio.wait((closing,), timeout=self._config.timeout)
        thread.shutdown(wait=closing.done())

    async def run(self, work: Callable[[sqlite3.Connection], T], timeout: float = 0.0) -> T:
        """The result of ``work``, called on the thread of the file. ``timeout`` 0: the configured one.

        Raises ``StoreError``. Work that is under way when its time is over is not interrupted.
        """
        if self._thread is None:
            raise StoreError(f"{self._config.path} is closed")
        if self._pending >= self._config.max_pending:
            raise StoreError(f"{self._config.path}: {self._pending} operations wait already")
        limit = timeout or self._config.timeout
        self._pending += 1
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._thread, self._work, work, time.monotonic() + limit)
        future.add_done_callback(self._done)
        try:
            async with asyncio.timeout(limit):
                return await asyncio.shield(future)
        except TimeoutError as error:
            raise StoreError(f"{self._config.path}: not done within {limit:g}s") from error
        except (sqlite3.Error, ValueError, OverflowError) as error:
            raise StoreError(f"{self._config.path}: {error}") from error

    def _done(self, future: asyncio.Future[T]) -> None:
        self._pending -= 1
        if not future.cancelled():
            future.exception()  # whoever waited may be gone

    def _work(self, work: Callable[[sqlite3.Connection], T], until: float) -> T:
        if time.monotonic() > until or self._connection is None:
            raise sqlite3.OperationalError("waited too long")  # nobody wants the result any more
        return work(self._connection)

    # --- on the thread -----------------------------------------------------------------------------------------------

    def _open(self) -> None:
        os.close(os.open(self._config.path, os.O_RDWR | os.O_CREAT, 0o640))
        connection = sqlite3.connect(
            self._config.path, timeout=self._config.busy_timeout, isolation_level=None, check_same_thread=False
        )
        try:
            _use_wal(connection)
            connection.execute(f"PRAGMA synchronous = {self._config.synchronous}")
            migrate(connection, self._schema)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Transaction:
    """``with Transaction(connection):`` all or nothing, and from its beginning the only writer."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> sqlite3.Connection:
        self._connection.execute("BEGIN IMMEDIATE")
        return self._connection

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            try:
                self._connection.execute("COMMIT")
                return
            except sqlite3.Error:
                self._undo()
                raise
        self._undo()

    def _undo(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def migrate(connection: sqlite3.Connection, schema: Schema) -> None:
    """Run the migrations that the file has not seen. Raises ``sqlite3.Error`` and ``StartError``."""
    with Transaction(connection):
        connection.execute(
            "CREATE TABLE IF NOT EXISTS pixiu_schema (component TEXT PRIMARY KEY, version INTEGER NOT NULL)"
        )
        row = connection.execute("SELECT version FROM pixiu_schema WHERE component = ?", (schema.component,)).fetchone()
        done = row[0] if row else 0
        pending = schema.unseen(done)
        for migration in pending:
            for statement in migration:
                connection.execute(statement)
        if pending:
            connection.execute(
                "INSERT INTO pixiu_schema VALUES (?, ?) ON CONFLICT DO UPDATE SET version = excluded.version",
                (schema.component, done + len(pending)),
            )


def _use_wal(connection: sqlite3.Connection) -> None:
    for tries_left in reversed(range(_WAL_TRIES)):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or not tries_left:
                raise
            time.sleep(_WAL_PAUSE)
