"""A client that sends exactly the bytes it is given and keeps exactly those that come back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.fakes.wire import Message, Raw, parse_fields, read_body, read_head

#: Longest wait for anything; a test that hits it has failed.
PATIENCE = 5.0
#: Bytes that are read ahead, at most twice.
LIMIT = 2**20


@dataclass
class Reply(Message):
    """A response as the client received it. ``complete`` is False when the connection ended before the response did."""

    #: Heads of interim responses (1xx) that came before.
    interim: list[bytes] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.start_line.split(b" ")[1])

    @property
    def reason(self) -> str:
        """The reason phrase."""
        return self.start_line.split(b" ", 2)[2].decode()


class Client:
    """One connection to the gateway. Every wait ends, or fails, within ``PATIENCE`` seconds."""

    def __init__(
        self, port: int, host: str = "127.0.0.1", receive_buffer: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.port = port
        self.host = host
        self._tls = tls
        self._receive_buffer = receive_buffer

    async def __aenter__(self) -> Client:
        sock = socket.socket()
        sock.setblocking(False)
        if self._receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        async with asyncio.timeout(PATIENCE):
            try:
                await asyncio.get_running_loop().sock_connect(sock, (self.host, self.port))
            except OSError:
                sock.close()
                raise
            secure: dict[str, Any] = {"ssl": self._tls, "server_hostname": self.host} if self._tls else {}
            self.reader, self.writer = await asyncio.open_connection(sock=sock, limit=LIMIT, **secure)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)
        async with asyncio.timeout(PATIENCE):
            await self.writer.drain()

    async def send_until_stalled(self, size: int) -> int:
        """Send up to ``size`` bytes, only as fast as they are taken; return how many went before nothing moved."""
        self.writer.transport.set_write_buffer_limits(0)
        sent = 0
        while sent < size:
            self.writer.write(b"x" * 65536)
            try:
                async with asyncio.timeout(0.5):  # that nothing moves has no event
                    await self.writer.drain()
            except TimeoutError:
                break
            sent += 65536
        return sent

    async def read_response(self, method: str = "GET") -> Reply:
        """The next final response, complete or as far as it came. Raises ``EOFError`` when nothing came at all."""
        interim: list[bytes] = []
        async with asyncio.timeout(PATIENCE):
            while True:
                reply = await self.read_head()
                if not 100 <= reply.status < 200 or reply.status == 101:
                    break
                interim.append(reply.head)
            reply.interim = interim
            if method != "HEAD" and reply.status not in (101, 204, 304):
                await read_body(self.reader, reply, until_close=True)
        return reply

    async def read_head(self) -> Reply:
        """Only the next response head, interim or final. Raises ``EOFError`` when nothing came at all."""
        async with asyncio.timeout(PATIENCE):
            data = await read_head(self.reader)
        if not data.endswith(b"\r\n\r\n"):
            raise EOFError(f"connection ended instead of a response head: {data!r}")
        return Reply(data, parse_fields(data))

    async def request(
        self,
        method: str,
        target: str,
        headers: Sequence[Raw] | Mapping[str, str] = (),
        body: bytes | None = None,
    ) -> Reply:
        """Send one request, with Host and Content-Length added, and read its response."""
        await self.send(request(method, target, headers, body))
        return await self.read_response(method)

    async def chat(self, *, stream: bool = False, headers: Mapping[str, str] | None = None, **more: Any) -> Reply:
        """A chat completion request."""
        return await self.request("POST", "/v1/chat/completions", headers or {}, chat_body(stream=stream, **more))

    async def read_until(self, data: bytes) -> bytes:
        """Everything up to and including ``data``."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(data)

    async def read_rest(self) -> bytes:
        """Everything until the connection ends; empty when it was reset."""
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read(-1)
        return b""

    async def wait_closed_by_peer(self) -> None:
        """Wait until the peer has closed; anything it still sends is a failure."""
        rest = await self.read_rest()
        assert rest == b"", f"expected the end, got {rest!r}"

    def half_close(self) -> None:
        """Send a FIN and go on reading."""
        self.writer.write_eof()

    def abort(self) -> None:
        """Reset the connection."""
        sock = self.writer.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        """Close the connection."""
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


def chat_body(*, stream: bool = False, **more: Any) -> bytes:
    """The body of a chat completion request."""
    document = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **more}
    return orjson.dumps({**document, "stream": True} if stream else document)


def request(
    method: str, target: str, headers: Sequence[Raw] | Mapping[str, str] = (), body: bytes | None = None
) -> bytes:
    """The bytes of a request; Host and Content-Length are added unless given."""
    if isinstance(headers, Mapping):
        fields = [(name.encode(), value.encode()) for name, value in headers.items()]
    else:
        fields = list(headers)
    names = {name.lower() for name, _ in fields}
    if b"host" not in names:
        fields.insert(0, (b"Host", b"gateway.test"))
    if body is not None and not names & {b"content-length", b"transfer-encoding"}:
        fields.append((b"Content-Length", b"%d" % len(body)))
    lines = [f"{method} {target} HTTP/1.1".encode("latin-1"), *(name + b": " + value for name, value in fields)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")
