"""What only the SQLite ledger does: it outlives its process, and several append to it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pixiu_py.errors import StartError
from pixiu_py.stores.base import StoreError
from pixiu_py.stores.ledger.base import UsageQuery
from pixiu_py.stores.ledger.record import usage_record
from pixiu_py.stores.ledger.sqlite import SqliteLedger, SqliteLedgerConfig
from pixiu_py.stores.ledger.tariff import Tariff
from tests.fakes.ledgers import SERVED, TOKENS


def made(path: Path, **config: Any) -> SqliteLedger:
    return SqliteLedger(SqliteLedgerConfig(path=str(path / "ledger.db"), **config))


async def test_usage_and_tariffs_survive_a_restart(tmp_path: Path) -> None:
    for expected in (0, 1):
        ledger = made(tmp_path)
        await ledger.start()
        assert len(await ledger.tariffs()) == expected
        assert [one.requests for one in await ledger.usage(UsageQuery())] == [1] * expected
        await ledger.append([usage_record(SERVED, TOKENS, None)])
        await ledger.set_tariff(Tariff(model="m"), 10.0 + expected)
        await ledger.close()


async def test_writes_survive_a_power_failure_unless_told_otherwise(tmp_path: Path) -> None:
    for config, expected in (({}, 2), ({"synchronous": "normal"}, 1)):
        ledger = made(tmp_path, **config)
        await ledger.start()
        level = await ledger._file.run(lambda connection: connection.execute("PRAGMA synchronous").fetchone())
        assert level == (expected,)
        await ledger.close()


async def test_failures_are_its_own(tmp_path: Path) -> None:
    nowhere = made(tmp_path / "nowhere")
    with pytest.raises(StartError, match=r"ledger .*No such file or directory"):
        await nowhere.start()
    ledger = made(tmp_path)
    await ledger.start()
    await ledger.close()
    with pytest.raises(StoreError):
        await ledger.append([usage_record(SERVED, TOKENS, None)])
    with pytest.raises(StoreError):
        await ledger.usage(UsageQuery())


_WORKER = """
import asyncio, sys
from pixiu_py.stores.ledger.record import Served, usage_record
from pixiu_py.stores.ledger.cost import Tokens
from pixiu_py.stores.ledger.sqlite import SqliteLedger, SqliteLedgerConfig

async def main(path, name):
    ledger = SqliteLedger(SqliteLedgerConfig(path=path, busy_timeout=30.0, timeout=30.0))
    await ledger.start()
    for number in range(50):
        served = Served("r", 1000.0, name, "m", "e", 200)
        batch = [usage_record(served, Tokens(1, 1), None, record_id=f"{name}{number}.{part}") for part in range(4)]
        await ledger.append(batch)
        print(number, flush=True)
    await ledger.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_two_processes_append_to_one_file(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _WORKER, str(tmp_path / "ledger.db")]
    workers = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for name in "ab"]
    ended = await asyncio.gather(*(asyncio.to_thread(worker.communicate) for worker in workers))
    assert [errors for _, errors in ended] == [b"", b""]
    ledger = made(tmp_path)
    await ledger.start()
    sums = await ledger.usage(UsageQuery(by=("principal",)))
    assert [(one.key, one.requests) for one in sums] == [(("a",), 200), (("b",), 200)]
    await ledger.close()


async def test_a_killed_process_leaves_whole_batches(tmp_path: Path) -> None:
    """All that were answered, and of the one under way all or nothing."""
    command = [sys.executable, "-c", _WORKER, str(tmp_path / "ledger.db"), "a"]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert worker.stdout is not None
    for _ in range(10):
        worker.stdout.readline()
    worker.kill()
    answered = 10 + len(worker.communicate()[0].splitlines())
    ledger = made(tmp_path)
    await ledger.start()
    (total,) = await ledger.usage(UsageQuery())
    assert total.requests % 4 == 0
    assert answered <= total.requests // 4 <= answered + 1
    await ledger.close()
