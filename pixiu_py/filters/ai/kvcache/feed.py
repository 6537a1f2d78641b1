"""The socket at which engines publish, for one process or for several workers of one machine.

One process binds it. Of several workers only one can: the one that is on duty. It passes every message on to the others,
through a socket file in a folder that only this user can enter, for messages have the tokens of prompts in them. When its
worker ends, the next one on duty binds; what was lost meanwhile shows in the numbers of the messages.
"""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import structlog

from pixiu_py.errors import StartError
from pixiu_py.tasks import Tasks

if TYPE_CHECKING:
    import zmq.asyncio

log = structlog.get_logger("pixiu_py.filters.kvcache")

#: Bytes of one message: some 100,000 blocks.
MAX_MESSAGE = 64 * 2**20
#: Messages that wait in ZeroMQ.
QUEUE = 10_000
#: Messages that are taken before other tasks get their turn.
_BURST = 64
#: Seconds between two tries to bind what a worker that has ended may still hold.
_AGAIN = 0.2

Heard = Callable[[list[bytes]], None]


class Feed:
    """Hands each message (its frames) to ``heard``, for as long as it runs.

    ``duty`` None: this process is the only one. Else it is set while this one is to bind, and ``family`` is a number that
    the workers have in common.
    """

    def __init__(
        self, bind: str, prefix: str, heard: Heard, duty: asyncio.Event | None = None, family: int = 0
    ) -> None:
        self._bind = bind
        self._prefix = prefix
        self._heard = heard
        self._duty = duty
        self._family = family
        self._tasks = Tasks("kv events feed")
        #: For whoever opens sockets of the same kind; None when it is not running.
        self.context: zmq.asyncio.Context | None = None
        self._sockets: list[zmq.asyncio.Socket] = []
        #: Where it listens, with the port that the system gave when it was asked for any.
        self.address = bind

    async def start(self) -> None:
        """Begin to listen. Raises ``StartError`` when the only process cannot have the address."""
        import zmq
        import zmq.asyncio

        self.context = zmq.asyncio.Context(io_threads=1)
        if self._duty is not None:
            _ = self._tasks.spawn(self._with_others(self._duty, relay_address(self._bind, self._family)), "workers")
            return
        try:
            socket = self._listening()
        except zmq.ZMQError as error:
            raise StartError(f"kv-events: cannot listen on {self._bind}: {error.strerror}") from error
        _ = self._tasks.spawn(self._listen(socket, None), "listening")

    async def close(self) -> None:
        """Listen no more."""
        await self._tasks.close()
        for socket in self._sockets:
            socket.close()
        self._sockets.clear()
        if self.context is not None:
            self.context.term()
        self.context = None

    async def _with_others(self, duty: asyncio.Event, relay: str) -> None:
        """Listen to the worker on duty, until it is this one."""
        import zmq

        follower = self._socket(zmq.SUB)
        follower.subscribe(self._prefix)
        follower.connect(relay)
        following = self._tasks.spawn(self._listen(follower, None), "following")
        await duty.wait()
        following.cancel()
        await asyncio.wait([following])
        self._sockets.remove(follower)
        follower.close()
        socket = await self._listening_at_last()
        publisher = self._socket(zmq.PUB)
        publisher.bind(relay)
        await self._listen(socket, publisher)

    async def _listening_at_last(self) -> zmq.asyncio.Socket:
        import zmq

        told = False
        while True:
            try:
                return self._listening()
            except zmq.ZMQError as error:
                if not told:
                    log.warning("KV events: the address is not free yet", address=self._bind, error=error.strerror)
                told = True
            await asyncio.sleep(_AGAIN)

    async def _listen(self, socket: zmq.asyncio.Socket, publisher: zmq.asyncio.Socket | None) -> None:
        count = 0
        while True:
            frames = await socket.recv_multipart()
            if publisher is not None:
                await publisher.send_multipart(frames)  # never waits: what a worker cannot take, it loses
            self._heard(frames)
            count += 1
            if count % _BURST == 0:  # a full queue is handed out without a pause
                await asyncio.sleep(0)

    def _listening(self) -> zmq.asyncio.Socket:
        import zmq

        socket = self._socket(zmq.SUB)
        socket.setsockopt(zmq.IPV6, int("[" in self._bind))
        socket.subscribe(self._prefix)
        try:
            socket.bind(self._bind)
        except zmq.ZMQError:
            self._sockets.remove(socket)
            socket.close()
            raise
        self.address = socket.getsockopt_string(zmq.LAST_ENDPOINT)
        return socket

    def _socket(self, kind: int) -> zmq.asyncio.Socket:
        import zmq

        if self.context is None:
            raise StartError("kv-events: not started")
        socket = self.context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, QUEUE)
        socket.setsockopt(zmq.SNDHWM, QUEUE)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE)
        self._sockets.append(socket)
        return socket


def relay_address(bind: str, family: int) -> str:
    """Where the worker on duty passes messages on. Raises ``StartError`` when others could listen there."""
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"pixiu-py-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise StartError(f"kv-events: workers need the folder {folder}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StartError(f"kv-events: workers need the folder {folder} for themselves: others can enter it")
    return f"ipc://{folder}/kv-events-{family}-{crc32(bind.encode()):08x}"
