"""A whole gateway in the test's own process, from YAML text, on ports of its own."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import yaml

from pixiu_py.config.load import load_text
from pixiu_py.gateway import Gateway
from pixiu_py.plugins import build_registry
from tests.fakes.client import PATIENCE, Client, Reply


class RunningGateway:
    """A started gateway, and how to reach it."""

    def __init__(self, gateway: Gateway, log: Path) -> None:
        self.gateway = gateway
        self._log = log
        self._stopped = False
        #: Port of each listener by its name.
        self.ports = {name: port for name, (_, port) in gateway.addresses.items()}

    @classmethod
    async def start(cls, text: str, folder: Path, plugins: Iterable[type[Any]] = ()) -> RunningGateway:
        """Start a gateway that writes its access log into ``folder`` and knows ``plugins`` besides the built-in ones.

        Raises ``ConfigError``, ``StartError``.
        """
        log = folder / f"access-{len(list(folder.iterdir()))}.log"
        document = yaml.safe_load(text)
        document["access_log"] = {"path": str(log), "flush_interval": "1ms", **document.get("access_log", {})}
        registry = build_registry(None)
        for plugin in plugins:
            registry.add(plugin)
        loaded = load_text(yaml.safe_dump(document, sort_keys=False), registry)
        gateway = Gateway(loaded.config, registry)
        await gateway.start()
        return cls(gateway, log)

    @property
    def port(self) -> int:
        """Port of the first listener."""
        return next(iter(self.ports.values()))

    @property
    def url(self) -> str:
        """Base URL of the first listener."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, **options: Any) -> Client:
        """A new connection to the first listener, as a context manager."""
        return Client(self.port, **options)

    async def request(self, *args: Any, **options: Any) -> Reply:
        """One request on a connection of its own; see ``Client.request``."""
        async with self.client() as client:
            return await client.request(*args, **options)

    async def chat(self, **options: Any) -> Reply:
        """One chat completion request on a connection of its own; see ``Client.chat``."""
        async with self.client() as client:
            return await client.chat(**options)

    def log_lines(self) -> list[dict[str, Any]]:
        """The access log so far."""
        return [orjson.loads(line) for line in self._log.read_bytes().splitlines()] if self._log.exists() else []

    async def wait_log(self, count: int = 1) -> list[dict[str, Any]]:
        """The access log, once it has so many lines."""
        async with asyncio.timeout(PATIENCE):
            while len(self.log_lines()) < count:
                await asyncio.sleep(0.005)  # another process may write the file: there is no event to wait for
        return self.log_lines()

    async def stop(self) -> None:
        """Stop the gateway; a second call does nothing."""
        if not self._stopped:
            self._stopped = True
            await self.gateway.stop()


class Leaks:
    """Notices tasks and sockets that were not there before."""

    def __init__(self) -> None:
        self._tasks = asyncio.all_tasks()
        self._sockets = _sockets()

    async def check(self) -> None:
        """Fail when something is left, after as many turns of the loop as closing needs."""
        for _ in range(100):
            if not self._left():
                return
            await asyncio.sleep(0.01)
        gc.collect()
        await asyncio.sleep(0)
        assert not self._left(), f"left over: {self._left()}"

    def _left(self) -> list[str]:
        current = asyncio.current_task()
        left = [repr(task) for task in asyncio.all_tasks() - self._tasks if task is not current]
        more = _sockets() - self._sockets
        return [*left, f"{more} sockets"] if more > 0 else left


def _sockets() -> int:
    """How many sockets this process has open."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
        if target.startswith("socket:"):
            found += 1
    return found
