"""An endpoint that does exactly what a test tells it, on a raw socket, and remembers everything it was sent.

    async with Upstream([respond(500), respond(200, body=b"fine")]) as upstream: ...

A script is one action (always), a list (one per request, and not one request more) or a function from the request to an
action. Actions are in ``actions.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from tests.fakes.wire import Message, parse_fields, read_body, read_head

#: Bytes that are read ahead, at most twice.
LIMIT = 2**20


@dataclass
class Request(Message):
    """A request as the endpoint received it."""

    #: Number of the connection it came on, from 1, and its place on that connection, from 1.
    connection: int = 0
    position: int = 0

    @property
    def method(self) -> str:
        """The method."""
        return self.start_line.split(b" ")[0].decode()

    @property
    def target(self) -> str:
        """The request target, as written."""
        return self.start_line.split(b" ")[1].decode("latin-1")


@dataclass
class Action:
    """What to do with a request. ``when``: at ``accept``, after the ``head``, or after the ``body``."""

    run: Callable[[Connection, Request], Awaitable[None]]
    when: str = "body"


Script = Action | Sequence[Action] | Callable[[Request], Action | Awaitable[Action]]


class Upstream:
    """A scripted HTTP/1.1 server on 127.0.0.1 and a port of its own."""

    def __init__(
        self, script: Script, *, host: str = "127.0.0.1", send_buffer: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._script = script
        self._next = 0
        self._host = host
        self._send_buffer = send_buffer
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Event()
        self.port = 0
        #: Requests whose head has come, in order.
        self.requests: list[Request] = []
        #: Connections ever accepted, in order.
        self.connections: list[Connection] = []
        #: Set when a peer has closed its connection while a request of its was being answered.
        self.client_gone = asyncio.Event()
        self._errors: list[BaseException] = []

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{self._host}:{self.port}"

    @property
    def accepted(self) -> int:
        """Connections ever accepted."""
        return len(self.connections)

    @property
    def open(self) -> int:
        """Connections open now."""
        return sum(1 for connection in self.connections if not connection.lost.is_set())

    @property
    def request(self) -> Request:
        """The only request there was."""
        assert len(self.requests) == 1, f"{len(self.requests)} requests came"
        return self.requests[0]

    async def __aenter__(self) -> Upstream:
        await self.listen()
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        await self.stop_listening()
        for connection in self.connections:
            connection.close()
        async with asyncio.timeout(5):
            for connection in self.connections:
                await connection.ended.wait()
        if error is None and self._errors:
            raise self._errors[0]

    async def listen(self) -> None:
        """Accept connections, on the same port as before if there was one."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self), self._host, self.port, reuse_address=True, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop_listening(self) -> None:
        """Refuse new connections; those that are open go on."""
        if self._server is not None:
            self._server.close()
            self._server = None
            await asyncio.sleep(0)

    async def until(self, condition: Callable[[Upstream], bool], seconds: float = 5.0) -> None:
        """Wait until ``condition`` holds; it is looked at whenever something happens here."""
        async with asyncio.timeout(seconds):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

    async def until_requests(self, count: int) -> None:
        """Wait until ``count`` requests have come."""
        await self.until(lambda upstream: len(upstream.requests) >= count)

    async def until_stalled(self) -> None:
        """Wait until the last connection can send no more, and nothing has moved on it for a while."""
        connection, before = self.connections[-1], -1
        async with asyncio.timeout(5):
            while not connection.paused or connection.sent != before:
                before = connection.sent
                await asyncio.sleep(0.1)  # that nothing happens has no event

    # --- for connections ----------------------------------------------------------------------------------------------

    def opened(self, connection: Connection) -> int:
        """Note a new connection; return its number."""
        if self._send_buffer:
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._send_buffer)
        self.connections.append(connection)
        self.notify()
        return len(self.connections)

    def notify(self) -> None:
        """Something happened: let waiting tests look."""
        self._changed.set()

    def failed(self, error: BaseException) -> None:
        """Keep a fault of the script, or of the test, for the end of the test."""
        self._errors.append(error)

    def upcoming(self) -> Action | None:
        """The next action, when it is known before its request is."""
        if isinstance(self._script, Action):
            return self._script
        if callable(self._script) or self._next >= len(self._script):
            return None
        return self._script[self._next]

    async def action_for(self, request: Request) -> Action:
        """The action for a request, which is used up by this."""
        if isinstance(self._script, Action):
            return self._script
        if callable(self._script):
            action = self._script(request)
            return await action if inspect.isawaitable(action) else action
        assert self._next < len(self._script), f"unexpected request {self._next + 1}: {request.head!r}"
        self._next += 1
        return self._script[self._next - 1]


class Connection(asyncio.StreamReaderProtocol):
    """One accepted connection: reads requests and acts."""

    def __init__(self, upstream: Upstream) -> None:
        self.reader = asyncio.StreamReader(limit=LIMIT)
        super().__init__(self.reader)
        self.upstream = upstream
        self.number = 0
        #: Bytes handed to the socket so far.
        self.sent = 0
        #: True while the socket takes no more.
        self.paused = False
        #: Set when the connection is gone, whoever closed it.
        self.lost = asyncio.Event()
        #: Set when nothing runs here any more.
        self.ended = asyncio.Event()
        #: ``idle``, ``reading`` a request body, or ``acting``.
        self.state = "idle"
        self._closing = False

    @property
    def socket(self) -> socket.socket:
        """The socket, for options only."""
        found: socket.socket = self.transport.get_extra_info("socket")
        return found

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.writer = asyncio.StreamWriter(self.transport, self, self.reader, asyncio.get_running_loop())
        super().connection_made(transport)
        self.number = self.upstream.opened(self)
        self._serving = asyncio.get_running_loop().create_task(self._serve(), name=f"upstream connection {self.number}")
        self._serving.add_done_callback(self._served)

    def eof_received(self) -> bool:
        super().eof_received()
        self._peer_gone()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._peer_gone()
        self.lost.set()
        self.upstream.notify()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.paused = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self.paused = False

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)
        self.sent += len(data)

    async def drain(self) -> None:
        """Wait until there is room again."""
        await self.writer.drain()

    def close(self) -> None:
        """Close after what has been written."""
        self._closing = True
        self.transport.close()

    def reset(self) -> None:
        """Send what has been written, then a reset instead of a regular end."""
        self._closing = True
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _peer_gone(self) -> None:
        if self.state != "idle" and not self._closing:
            self.upstream.client_gone.set()
        if self.state != "reading":  # an unfinished body is to be seen in the request
            self._serving.cancel()

    def _served(self, task: asyncio.Task[None]) -> None:
        self.close()
        self.ended.set()
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ConnectionError):  # the peer may break off at any time
            self.upstream.failed(error)
        self.upstream.notify()

    async def _serve(self) -> None:
        position = 0
        while not self.transport.is_closing():
            position += 1
            upcoming = self.upstream.upcoming()
            request = Request(b"", connection=self.number, position=position)
            if upcoming is None or upcoming.when != "accept":
                request.head = await read_head(self.reader)
                if not request.head.endswith(b"\r\n\r\n"):
                    return
                request.headers = parse_fields(request.head)
                self.upstream.requests.append(request)
                self.upstream.notify()
            if upcoming is None or upcoming.when == "body":
                await self._read_body(request)
                if not request.complete:
                    return
            self.state = "acting"
            action = await self.upstream.action_for(request)
            await action.run(self, request)
            self.state = "idle"

    async def _read_body(self, request: Request) -> None:
        self.state = "reading"
        if request.header("expect") is not None:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await read_body(self.reader, request, until_close=False)
        self.upstream.notify()


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """A port at which nobody listens, and which nobody else can take meanwhile."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port that neither accepts nor refuses: its queue is full, so that connecting takes for ever."""
    with socket.socket() as holder, contextlib.ExitStack() as fillers:
        holder.bind(("127.0.0.1", 0))
        holder.listen(0)
        for _ in range(2):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(holder.getsockname())
        yield holder.getsockname()[1]
