"""The gateway as a process of its own: what it prints, how much memory it takes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import yaml

#: Seconds until a started process must listen, or have ended.
PATIENCE = 20.0


class GatewayProcess:
    """A running gateway."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._reading = asyncio.get_running_loop().create_task(self._read(), name="output of the gateway")
        self._more = asyncio.Event()
        self._printed = bytearray()
        self.port = 0

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def printed(self) -> str:
        """Everything it has printed so far, on either stream."""
        return self._printed.decode("utf-8", "replace")

    def peak_memory(self) -> int:
        """The most bytes that it has ever had in memory (VmHWM)."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        assert found, status
        return int(found[1]) * 1024

    async def until_printed(self, pattern: str) -> re.Match[str]:
        """Wait until something that matches has been printed."""
        async with asyncio.timeout(PATIENCE):
            while not (found := re.search(pattern, self.printed)):
                assert not self._reading.done(), self.printed
                self._more.clear()
                await self._more.wait()
        return found

    async def end(self) -> int:
        """Ask it to end; return its exit code once everything that it printed has been read."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            await self._reading
            return await self._process.wait()

    async def kill(self) -> None:
        """End it at once, with all of its children."""
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._reading
        await self._process.wait()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while data := await self._process.stdout.read(65536):
            self._printed += data
            self._more.set()
        self._more.set()


def on_port(port: int, text: str) -> str:
    """The configuration with a listener at a given port, so that a test finds it."""
    document = yaml.safe_load(text)
    document["static_resources"]["listeners"][0]["address"]["socket_address"]["port"] = port
    return yaml.safe_dump(document)


def find_free_port() -> int:
    """A free port from below the range out of which the kernel serves those who ask for any port."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED:
                return port


def worker_of(supervisor: int, port: int, client_port: int) -> int:
    """The process that has taken the connection of ``client_port`` to ``port``: the kernel tells. 0: none has, yet."""
    ends = f"0100007F:{port:04X} 0100007F:{client_port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inode = next((row[9] for row in rows if " ".join(row[1:3]) == ends), "none")
    for worker in workers_of(supervisor):
        with contextlib.suppress(OSError):  # it is ending
            if any(os.readlink(fd) == f"socket:[{inode}]" for fd in Path(f"/proc/{worker}/fd").iterdir()):
                return worker
    return 0


def workers_of(supervisor: int) -> list[int]:
    """The processes that it has started and that are still there."""
    return [int(pid) for pid in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()]


@asynccontextmanager
async def gateway_process(folder: Path, text: str, *flags: str) -> AsyncIterator[GatewayProcess]:
    """Start the program with this configuration and wait until it listens; killed at the end if it is still there."""
    config = folder / "conf.yaml"
    config.write_text(text)
    command = [sys.executable, "-m", "pixiu_py", "gateway", "start", "-c", str(config), *flags]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True
    )
    running = GatewayProcess(process)
    try:
        running.port = int((await running.until_printed(r"127\.0\.0\.1:(\d+)"))[1])
        yield running
    finally:
        await running.kill()
