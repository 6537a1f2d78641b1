"""A TCP relay that loses connectivity on command: a bad network between a real client and a real server."""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum

from pixiu_py.tasks import Tasks


class Mode(Enum):
    """What happens to bytes that arrive."""

    PASS = "pass"
    #: Nothing moves until the mode changes; what arrives meanwhile waits.
    HOLD = "hold"
    #: New connections are closed at once.
    REFUSE = "refuse"


class Flaky:
    """Relays one port of its own to a target. Modes and limits hold for new and for open connections alike."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._target = (host, port)
        self._tasks = Tasks("flaky relay")
        self._writers: set[asyncio.StreamWriter] = set()
        self._may_pass = asyncio.Event()
        self._may_pass.set()
        self._mode = Mode.PASS
        self.port = 0
        #: Connections ever accepted.
        self.accepted = 0
        #: Bytes that may still go from the target to the client; then every connection is cut. None: no limit.
        self.allowance: int | None = None

    async def __aenter__(self) -> Flaky:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.drop()
        await self._tasks.close()

    def set(self, mode: Mode) -> None:
        """Change the mode."""
        self._mode = mode
        if mode is Mode.HOLD:
            self._may_pass.clear()
        else:
            self._may_pass.set()

    def drop(self) -> None:
        """Cut every open connection, without a regular end."""
        for writer in list(self._writers):
            writer.transport.abort()
        self._writers.clear()

    def truncate(self, after: int) -> None:
        """Let ``after`` more bytes through to the client, then cut every connection."""
        self.allowance = after

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._mode is Mode.REFUSE:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        _ = self._tasks.spawn(self._relay(reader, far_writer, limited=False), "to the target")
        _ = self._tasks.spawn(self._relay(far_reader, writer, limited=True), "to the client")

    async def _relay(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, limited: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                await self._may_pass.wait()
                sink.write(self._allowed(data) if limited else data)
                await sink.drain()
                if self.allowance == 0:
                    self._cut()
                    return
        self._writers.discard(sink)
        sink.close()

    def _allowed(self, data: bytes) -> bytes:
        if self.allowance is None:
            return data
        data = data[: self.allowance]
        self.allowance -= len(data)
        return data

    def _cut(self) -> None:
        for writer in list(self._writers):
            writer.close()
        self._writers.clear()
