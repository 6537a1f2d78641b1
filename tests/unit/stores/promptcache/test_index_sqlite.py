"""What only the SQLite index does: it outlives its process, is shared, and is swept."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pixiu_py.errors import StartError
from pixiu_py.stores.base import StoreError
from pixiu_py.stores.promptcache.base import Scope, Write
from pixiu_py.stores.promptcache.sqlite import SqliteIndex, SqliteIndexConfig
from pixiu_py.stores.promptcache.sweep import Sweeper
from tests.fakes.indexes import kept

SCOPE = Scope("alice", "m", "v1")
NOW = 2_000_000_000.0


def made(path: Path, **config: Any) -> SqliteIndex:
    return SqliteIndex(SqliteIndexConfig(path=str(path / "index.db"), **config))


async def test_entries_survive_a_restart(tmp_path: Path) -> None:
    for found in (0, 1):
        index = made(tmp_path)
        await index.start()
        assert len(await index.lookup(SCOPE, [b"h"], NOW)) == found
        await index.commit(SCOPE, [Write(b"h", 1, "5m")], [], NOW)
        await index.close()


async def test_two_open_indexes_see_each_others_entries(tmp_path: Path) -> None:
    one, other = made(tmp_path), made(tmp_path)
    await one.start()
    await other.start()
    await one.commit(SCOPE, [Write(b"h", 1, "5m")], [], NOW)
    assert set(await other.lookup(SCOPE, [b"h"], NOW)) == {b"h"}
    await one.close()
    await other.close()


async def test_what_is_over_is_swept_in_the_background(tmp_path: Path) -> None:
    index = made(tmp_path)
    await index.start()
    sweeper = Sweeper(index, 0.01, 2)
    sweeper.start()
    long_ago = 1_000_000.0
    await index.commit(SCOPE, [Write(bytes([n]), 1, "5m") for n in range(7)], [], long_ago)
    await index.commit(SCOPE, [Write(b"live", 1, "5m")], [], NOW * 2)
    async with asyncio.timeout(10):
        while await kept(index) > 1:
            await asyncio.sleep(0.005)
    await sweeper.close()
    assert set(await index.lookup(SCOPE, [b"live"], NOW)) == {b"live"}
    await index.close()


async def test_a_folder_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    index = made(tmp_path / "nowhere")
    with pytest.raises(StartError, match=r"prefix_index .*No such file or directory"):
        await index.start()
    await index.close()


async def test_a_closed_index_raises_its_error(tmp_path: Path) -> None:
    index = made(tmp_path)
    await index.start()
    await index.close()
    with pytest.raises(StoreError):
        await index.lookup(SCOPE, [b"h"], NOW)
    with pytest.raises(StoreError):
        await index.commit(SCOPE, [Write(b"h", 1, "5m")], [], NOW)


_WORKER = """
import asyncio, sys
from pixiu_py.stores.promptcache.base import Scope, Write
from pixiu_py.stores.promptcache.sqlite import SqliteIndex, SqliteIndexConfig

async def main(path, name):
    index = SqliteIndex(SqliteIndexConfig(path=path, busy_timeout=30.0, timeout=30.0))
    await index.start()
    scope = Scope("alice", "m", "v1")
    for number in range(200):
        own = Write(f"{name}{number}".encode(), number, "5m")
        shared = Write(b"shared%d" % (number % 10), 7, "1h" if number == 150 else "5m")
        await index.commit(scope, [own, shared], [shared], 2e9 + number)
        assert own.hash in await index.lookup(scope, [own.hash, shared.hash], 2e9 + number)
        print(number, flush=True)
    await index.close()

asyncio.run(main(*sys.argv[1:]))
"""


def start(path: Path, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _WORKER, str(path / "index.db"), name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def test_two_processes_share_one_file(tmp_path: Path) -> None:
    """Every commit of both is there, and the longer tier of either has won."""
    workers = [start(tmp_path, name) for name in "ab"]
    ended = await asyncio.gather(*(asyncio.to_thread(worker.communicate) for worker in workers))
    assert [errors for _, errors in ended] == ["", ""]
    index = made(tmp_path)
    await index.start()
    for name in "ab":
        hashes = [f"{name}{number}".encode() for number in range(200)]
        found = await index.lookup(SCOPE, hashes, 2e9 + 200)
        assert [found[hash_].tokens for hash_ in hashes] == list(range(200))
    assert (await index.lookup(SCOPE, [b"shared0"], 2e9 + 200))[b"shared0"].tier == "1h"
    await index.close()


async def test_a_killed_process_loses_no_commit_that_was_answered(tmp_path: Path) -> None:
    """kill -9 in mid-run: what it had said to be committed is there, and the file is whole."""
    worker = start(tmp_path, "a")
    assert worker.stdout is not None
    said = [int(worker.stdout.readline()) for _ in range(50)]
    worker.kill()
    said += [int(line) for line in worker.communicate()[0].splitlines() if line.strip()]
    index = made(tmp_path)
    await index.start()
    assert set(await index.lookup(SCOPE, [f"a{number}".encode() for number in said], 2e9)) == {
        f"a{number}".encode() for number in said
    }
    checked = await index._file.run(lambda connection: connection.execute("PRAGMA integrity_check").fetchone())
    assert checked == ("ok",)
    await index.close()
