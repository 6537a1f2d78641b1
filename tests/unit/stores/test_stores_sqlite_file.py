"""One file, one thread: limits, failures, migrations, other processes."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from pixiu_py.errors import StartError
from pixiu_py.stores.base import StoreError
from pixiu_py.stores.schema import Schema
from pixiu_py.stores.sqlite_file import SqliteConfig, SqliteFile, Transaction

ONE = Schema("test", (("CREATE TABLE t (n INTEGER)",),))
TWO = Schema("test", (*ONE.migrations, ("ALTER TABLE t ADD COLUMN m INTEGER", "INSERT INTO t VALUES (1, 2)")))


async def opened(path: Path, schema: Schema = ONE, **config: Any) -> SqliteFile:
    file = SqliteFile(SqliteConfig(path=str(path / "f.db"), **config), schema)
    await file.start()
    return file


def rows(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    return connection.execute("SELECT * FROM t ORDER BY 1").fetchall()


async def test_work_is_done_on_a_thread_of_its_own(tmp_path: Path) -> None:
    file = await opened(tmp_path)
    used = {await file.run(lambda _: threading.current_thread().name) for _ in range(3)}
    assert len(used) == 1
    assert used.pop().startswith("sqlite-test")
    await file.close()


async def test_others_cannot_read_the_file(tmp_path: Path) -> None:
    await (await opened(tmp_path)).close()
    assert (tmp_path / "f.db").stat().st_mode & 0o777 & ~0o640 == 0


async def test_readers_are_not_disturbed_and_failures_undo(tmp_path: Path) -> None:
    """The journal is a WAL; a transaction that fails leaves nothing."""
    file = await opened(tmp_path)
    assert await file.run(lambda connection: connection.execute("PRAGMA journal_mode").fetchone()) == ("wal",)

    def fail(connection: sqlite3.Connection) -> None:
        with Transaction(connection):
            connection.execute("INSERT INTO t VALUES (1)")
            connection.execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(StoreError, match="no such table: nowhere"):
        await file.run(fail)
    assert await file.run(rows) == []
    await file.close()


async def test_migrations_run_once_and_in_order(tmp_path: Path) -> None:
    for schema, expected in ((ONE, []), (TWO, [(1, 2)]), (TWO, [(1, 2)])):
        file = await opened(tmp_path, schema)
        assert await file.run(rows) == expected
        await file.close()


async def test_components_share_a_file(tmp_path: Path) -> None:
    """Each has versions of its own."""
    one = await opened(tmp_path, TWO)
    other = await opened(tmp_path, Schema("other", (("CREATE TABLE o (n INTEGER)",),)))
    assert await other.run(rows) == [(1, 2)]
    await one.close()
    await other.close()


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda path: (path / "f.db").mkdir(), "Is a directory"),
        (
            lambda path: (path / "f.db").write_bytes(b"no database, though long enough to be none" * 100),
            "not a database",
        ),
    ],
)
async def test_what_cannot_be_opened_stops_the_start(tmp_path: Path, prepare: Any, message: str) -> None:
    prepare(tmp_path)
    file = SqliteFile(SqliteConfig(path=str(tmp_path / "f.db")), ONE)
    with pytest.raises(StartError, match=message):
        await file.start()
    await file.close()


async def test_a_file_of_a_newer_version_stops_the_start(tmp_path: Path) -> None:
    await (await opened(tmp_path, TWO)).close()
    file = SqliteFile(SqliteConfig(path=str(tmp_path / "f.db")), ONE)
    with pytest.raises(StartError, match="newer version"):
        await file.start()
    await file.close()


async def test_only_so_much_may_wait(tmp_path: Path) -> None:
    file = await opened(tmp_path, max_pending=2)
    gate = threading.Event()
    waiting = [asyncio.gather(file.run(lambda _: gate.wait(10))) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(StoreError, match="2 operations wait already"):
        await file.run(rows)
    gate.set()
    await asyncio.gather(*waiting)
    assert await file.run(rows) == []
    await file.close()


async def test_nobody_waits_longer_than_the_timeout(tmp_path: Path) -> None:
    """And what nobody waits for any more is not done."""
    file = await opened(tmp_path, timeout=0.05)
    gate = threading.Event()
    stuck = asyncio.gather(file.run(lambda _: gate.wait(10)), return_exceptions=True)
    await asyncio.sleep(0)
    done: list[int] = []
    with pytest.raises(StoreError, match=r"not done within 0\.05s"):
        await file.run(lambda _: done.append(1))
    assert isinstance((await stuck)[0], StoreError)
    gate.set()
    await file.run(rows, timeout=10)
    assert done == []
    await file.close()


async def test_work_that_was_cancelled_harms_nobody(tmp_path: Path) -> None:
    file = await opened(tmp_path)
    gate = threading.Event()
    task = asyncio.gather(file.run(lambda _: gate.wait(10)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()
    assert await file.run(rows) == []
    await file.close()


async def test_another_writer_is_waited_for_and_not_for_ever(tmp_path: Path) -> None:
    file = await opened(tmp_path, busy_timeout=0.05)
    with sqlite3.connect(tmp_path / "f.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")

        def insert(connection: sqlite3.Connection) -> None:
            with Transaction(connection):
                connection.execute("INSERT INTO t VALUES (1)")

        with pytest.raises(StoreError, match="locked"):
            await file.run(insert)
        assert await file.run(rows) == []
        other.execute("COMMIT")
        await file.run(insert)
        assert await file.run(rows) == [(1,)]
    other.close()
    await file.close()


async def test_a_closed_file_says_so_and_can_be_closed_again(tmp_path: Path) -> None:
    file = await opened(tmp_path)
    await file.close()
    await file.close()
    with pytest.raises(StoreError, match="closed"):
        await file.run(rows)


_START = """
import asyncio, sys
from pixiu_py.stores.schema import Schema
from pixiu_py.stores.sqlite_file import SqliteConfig, SqliteFile
async def main():
    schema = Schema("test", (("CREATE TABLE t (n INTEGER)", "INSERT INTO t VALUES (7)"),))
    file = SqliteFile(SqliteConfig(path=sys.argv[1]), schema)
    sys.stdin.readline()
    await file.start()
    await file.close()
asyncio.run(main())
"""


def test_processes_that_start_at_once_make_the_tables_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _START, str(tmp_path / "f.db")]
    starting = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for process in starting:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate()[1] for process in starting] == [""] * 4
    with sqlite3.connect(tmp_path / "f.db") as connection:
        assert rows(connection) == [(7,)]
    connection.close()
