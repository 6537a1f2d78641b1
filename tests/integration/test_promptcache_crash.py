"""Processes that are killed, told to end, or share their files: index and ledger stay whole, and lose what the page says."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

from tests.fakes.accounted import accounting, ask, question, was_read
from tests.fakes.client import Client
from tests.fakes.process import GatewayProcess, gateway_process
from tests.fakes.services import free_port

CLIENTS = 8
FIRST, ALL = 400, 1000


def places(folder: Path, **writer: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """An index and a ledger in files."""
    index = {"type": "sqlite", "path": str(folder / "index.db")}
    return index, {"type": "sqlite", "path": str(folder / "ledger.db"), "writer": writer}


def recorded(folder: Path) -> Counter[str]:
    """The request ids in the ledger, read by somebody else."""
    connection = sqlite3.connect(folder / "ledger.db")
    try:
        return Counter(row[0] for row in connection.execute("SELECT request_id FROM usage_records"))
    finally:
        connection.close()


def check(path: Path) -> None:
    """The file is whole."""
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


class Requests:
    """Numbered requests, each with a prompt of its own, by several clients."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.done: set[str] = set()
        self.sent: set[str] = set()
        self._more = asyncio.Event()

    async def run(self, numbers: range) -> None:
        """Ask them all, or as many as there is somebody to ask."""
        left = iter(numbers)
        await asyncio.gather(*(self._client(left) for _ in range(CLIENTS)))

    async def _client(self, left: Any) -> None:
        with contextlib.suppress(EOFError, OSError):
            async with Client(self._port) as client:
                for number in left:
                    self.sent.add(f"r{number}")
                    reply = await ask(client, f"prompt {number}", f"r{number}")
                    if reply.status != 200 or not reply.complete:
                        return
                    self.done.add(f"r{number}")
                    self._more.set()

    async def until_done(self, count: int) -> None:
        """Wait for so many good answers."""
        async with asyncio.timeout(60):
            while len(self.done) < count:
                self._more.clear()
                await self._more.wait()


async def reads(process: GatewayProcess, numbers: range) -> set[int]:
    """Which of the prompts are in the cache."""
    async with Client(process.port) as client:
        return {number for number in numbers if was_read(await ask(client, f"prompt {number}"))}


async def until_recorded(folder: Path, count: int) -> None:
    """Wait until the ledger has so many records: another process writes them, and tells nobody."""
    async with asyncio.timeout(30):
        while sum(recorded(folder).values()) < count:
            await asyncio.sleep(0.02)


async def test_kill_in_the_middle_of_a_thousand_requests(tmp_path: Path) -> None:
    """What was committed and written is there after the restart, once, and nothing that never happened is."""
    index, ledger = places(tmp_path, flush_interval="50ms", batch_size=50)
    text = accounting(index, ledger)
    async with gateway_process(tmp_path, text) as process:
        requests = Requests(process.port)
        await requests.run(range(FIRST))
        await until_recorded(tmp_path, FIRST)
        rest = asyncio.gather(requests.run(range(FIRST, ALL)))
        await requests.until_done(FIRST + (ALL - FIRST) // 2)
        await process.kill()
        await rest
    assert FIRST < len(requests.done) < ALL
    check(tmp_path / "index.db")
    check(tmp_path / "ledger.db")
    async with gateway_process(tmp_path, text) as process:
        found = recorded(tmp_path)
        assert max(found.values()) == 1
        assert {f"r{number}" for number in range(FIRST)} <= set(found) <= requests.sent
        assert await reads(process, range(0, FIRST, 7)) == set(range(0, FIRST, 7))
        assert await process.end() == 0
    assert sum(recorded(tmp_path).values()) == sum(found.values()) + len(range(0, FIRST, 7))


async def test_a_kill_loses_no_more_than_a_flush_interval(tmp_path: Path) -> None:
    """Records that are older than it, and those of a batch that was full, are in the ledger."""
    index, ledger = places(tmp_path, flush_interval="1000s", batch_size=50)
    async with gateway_process(tmp_path, accounting(index, ledger)) as process:
        requests = Requests(process.port)
        await requests.run(range(120))
        await until_recorded(tmp_path, 100)
        await process.kill()
    assert sum(recorded(tmp_path).values()) == 100


async def test_sigterm_loses_nothing(tmp_path: Path) -> None:
    """Neither what waits to be written nor what is being answered; with two workers."""
    index, ledger = places(tmp_path, flush_interval="1000s", batch_size=10_000)
    mock = {"token_interval": "20ms"}
    text = accounting(index, ledger, mock=mock, port=free_port())
    async with gateway_process(tmp_path, text, "-m", "2") as process:
        requests = Requests(process.port)
        await requests.run(range(100))
        assert recorded(tmp_path) == Counter()
        async with Client(process.port) as client:
            await client.send(question("the last one", "last", stream=True))
            await client.read_until(b"data: ")
            code, rest = await asyncio.gather(process.end(), client.read_rest())
    assert code == 0
    assert b"[DONE]" in rest
    assert recorded(tmp_path) == Counter([f"r{number}" for number in range(100)] + ["last"])


async def test_workers_share_one_index_and_one_ledger(tmp_path: Path) -> None:
    """Whoever of two workers is asked: what the other one wrote is read, and both are in the books."""
    index, ledger = places(tmp_path, flush_interval="20ms")
    async with gateway_process(tmp_path, accounting(index, ledger, port=free_port()), "-m", "2") as process:
        async with Client(process.port) as client:
            await ask(client, "shared", "first")
        await until_recorded(tmp_path, 1)
        for number in range(30):  # the kernel spreads connections over the workers
            async with Client(process.port) as client:
                assert was_read(await ask(client, "shared", f"r{number}"))
        await until_recorded(tmp_path, 31)
        assert await process.end() == 0
