"""The command line and a running gateway share the books: keys and tariffs go in, usage comes out."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.conftest import StartGateway
from tests.fakes.accounted import accounting, ask, usage_of, was_read
from tests.fakes.gateway import RunningGateway


async def command(ledger: Path, *arguments: str, given: str = "") -> str:
    """What the program prints; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pixiu_py", *arguments, "--ledger", str(ledger)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(given.encode())
    assert (process.returncode, err) == (0, b"")
    return out.decode()


async def tells_zeros(running: RunningGateway) -> bool:
    """True when a prompt is accounted for at all: then its usage has the fields, whatever they say."""
    async with running.client() as client:
        return "cache_read_input_tokens" in usage_of(await ask(client, "is it on?"))


async def until(running: RunningGateway, expected: bool) -> None:
    """Wait until the gateway has looked into the ledger again."""
    async with asyncio.timeout(20):
        while await tells_zeros(running) is not expected:
            await asyncio.sleep(0.02)


async def test_keys_and_tariffs_go_in_and_usage_comes_out(gateway: StartGateway, tmp_path: Path) -> None:
    """Enable, use, sum up, disable; the gateway is never restarted, and its configuration knows neither key nor tariff."""
    path = tmp_path / "ledger.db"
    ledger = {"type": "sqlite", "path": str(path), "refresh": "20ms", "writer": {"flush_interval": "10ms"}}
    running = await gateway(accounting({"type": "memory"}, ledger, principals=[], tariffs=[]))
    assert not await tells_zeros(running)
    await command(path, "promptcache", "key", "add", "alice", given="sk-alice\n")
    prices = ("--input-price", "10", "--output-price", "30", "--min-prefix-tokens", "8")
    await command(path, "promptcache", "tariff", "set", "m", *prices)
    await until(running, True)
    async with running.client() as client:
        first, second = await ask(client, "twice", "r1"), await ask(client, "twice", "r2")
    assert (was_read(first), was_read(second)) == (False, True)
    await command(path, "promptcache", "tariff", "disable", "m")
    await until(running, False)
    await running.stop()
    rows: list[dict[str, Any]] = json.loads(await command(path, "usage", "--by", "principal", "--format", "json"))
    assert [row["principal"] for row in rows] == ["", "alice"]
    assert (rows[0]["list_cost"], rows[0]["unpriced"]) == ("0", rows[0]["requests"])
    usage = usage_of(second)
    assert rows[1]["read"] >= usage["cache_read_input_tokens"] > 0
    assert rows[1]["write_5m"] >= usage_of(first)["cache_creation_input_tokens"] > 0
    assert float(rows[1]["list_cost"]) > 0
