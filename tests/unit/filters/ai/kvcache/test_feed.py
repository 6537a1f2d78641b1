"""One port for several workers: the one on duty listens, all hear, and the next one takes over."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pixiu_py.errors import StartError
from pixiu_py.filters.ai.kvcache.feed import Feed, relay_address
from tests.fakes.kv_publisher import Publisher, message
from tests.fakes.services import free_port


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for the workers' sockets. Its path must be short: a socket's address is."""
    with tempfile.TemporaryDirectory(prefix="kv") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


class Worker:
    """A feed, and what it has heard."""

    def __init__(self, bind: str, family: int = 7) -> None:
        self.duty = asyncio.Event()
        self.heard: list[int] = []
        self.feed = Feed(bind, "kv@", self._take, self.duty, family)

    def _take(self, frames: list[bytes]) -> None:
        self.heard.append(int.from_bytes(frames[1], "big"))


async def _say(engine: Publisher, workers: list[Worker], number: int) -> None:
    """Publish again and again, from ``number`` on, until all have heard something of it."""
    async with asyncio.timeout(10):
        while not all(worker.heard and worker.heard[-1] >= number for worker in workers):
            await engine.publish(number, message(1.0))
            await asyncio.sleep(0.02)  # other threads move messages: there is no event


async def test_all_workers_hear_the_one_on_duty() -> None:
    """Before and after the duty has passed on."""
    bind = f"tcp://127.0.0.1:{free_port()}"
    first, second, third = workers = [Worker(bind) for _ in range(3)]
    for worker in workers:
        await worker.feed.start()
    try:
        first.duty.set()
        async with Publisher(bind) as engine:
            await _say(engine, workers, 0)
            await first.feed.close()
            second.duty.set()
            last = max(second.heard + third.heard)
            await _say(engine, [second, third], last + 1)
    finally:
        for worker in workers:
            await worker.feed.close()


async def test_an_address_that_is_not_free_yet_is_waited_for() -> None:
    """A worker that has ended may hold it for a moment."""
    bind = f"tcp://127.0.0.1:{free_port()}"
    holder = Feed(bind, "kv@", lambda frames: None)
    await holder.start()
    worker = Worker(bind)
    worker.duty.set()
    await worker.feed.start()
    await asyncio.sleep(0.05)
    await holder.close()
    try:
        async with Publisher(bind) as engine:
            await _say(engine, [worker], 0)
    finally:
        await worker.feed.close()


async def test_other_gateways_are_other_families() -> None:
    """Two gateways of one user, each with its workers, do not hear each other."""
    assert relay_address("tcp://127.0.0.1:1", 7) != relay_address("tcp://127.0.0.1:1", 8)
    assert relay_address("tcp://127.0.0.1:1", 7) != relay_address("tcp://127.0.0.1:2", 7)
    assert relay_address("tcp://127.0.0.1:1", 7) == relay_address("tcp://127.0.0.1:1", 7)


def test_nobody_else_can_listen(runtime: Path) -> None:
    """Messages have the tokens of prompts in them."""
    relay_address("tcp://127.0.0.1:1", 7)
    folder = runtime / f"pixiu-py-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o750)
    with pytest.raises(StartError, match="others can enter it"):
        relay_address("tcp://127.0.0.1:1", 7)
    folder.rmdir()
    folder.symlink_to(runtime)
    with pytest.raises(StartError, match="others can enter it"):
        relay_address("tcp://127.0.0.1:1", 7)
    folder.unlink()
    folder.write_text("")
    with pytest.raises(StartError, match="workers need the folder"):
        relay_address("tcp://127.0.0.1:1", 7)
