"""A raw HTTP/1.1 client connection for the load generators: one request at a time, as little work as possible."""

from __future__ import annotations

import asyncio
import functools
import json
import re
import time
from dataclasses import dataclass
from typing import Self, cast

from benchmarks.proc import BenchError

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_LAST_CHUNK = b"0\r\n\r\n"


#: The credential of every client. LiteLLM refuses a weak one.
CLIENT_KEY = "sk-bench-9f2c61d07be84c35a1d4"
CHAT_PATH = "/v1/chat/completions"
MODEL = "bench-model"


@dataclass(frozen=True)
class Target:
    """Where load goes: a loopback port, and headers that the server there needs besides the usual ones."""

    port: int
    headers: tuple[str, ...] = ()


def http_request(target: Target, method: str, path: str, body: bytes = b"", length: int | None = None) -> bytes:
    """A request with the headers that a client library sends. ``length`` announces a body that is sent separately."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: bench.local",
        "User-Agent: bench/1.0",
        "Accept: application/json",
        f"Authorization: Bearer {CLIENT_KEY}",
        "Content-Type: application/json",
        f"Content-Length: {len(body) if length is None else length}",
        *target.headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@functools.lru_cache(64)
def chat_request(target: Target, *, stream: bool = False, body: bytes = b"") -> bytes:
    """A chat completion request; of a body of one's own if one is given."""
    return http_request(target, "POST", CHAT_PATH, body or chat_body(stream=stream))


def chat_body(*, stream: bool = False) -> bytes:
    """The body of a chat completion request, about 1 KB."""
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "How does a proxy work? " * 34},
    ]
    return json.dumps(
        {"model": MODEL, "temperature": 0.7, "max_tokens": 256, "stream": stream, "messages": messages}
    ).encode()


class Client(asyncio.Protocol):
    """A keep-alive connection. Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self.sent_at = 0.0
        self.first_body_at = 0.0
        self._head = b""
        self._tail = b""
        self._in_body = False
        self._missing = -1
        self._done: asyncio.Future[None] | None = None
        self._first: asyncio.Future[None] | None = None

    @classmethod
    async def connect(cls, target: Target) -> Self:
        """Open a connection to ``target``."""
        _, client = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", target.port)
        return client

    def send(self, request: bytes) -> asyncio.Future[None]:
        """Send ``request``; the future is done with the last byte of a 200, or fails with ``BenchError``."""
        self._head, self._tail, self._in_body, self.first_body_at = b"", b"", False, 0.0
        self._done = asyncio.get_running_loop().create_future()
        self.sent_at = time.monotonic()
        self._transport.write(request)
        return self._done

    async def first_body_byte(self) -> None:
        """Return when the body of the response in flight has begun."""
        if self._in_body or self._done is None or self._done.done():
            return
        self._first = asyncio.get_running_loop().create_future()
        await self._first

    def close(self) -> None:
        """Close at once; a response in flight is given up."""
        self._done = None
        self._transport.abort()

    @property
    def is_open(self) -> bool:
        """False once either side has closed the connection."""
        return not self._transport.is_closing()

    def body_received(self, data: bytes) -> None:
        """A piece of the response as it came, chunk framing included; for subclasses."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("the connection was closed in the middle of a response")

    def data_received(self, data: bytes) -> None:
        if not self._in_body:
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            self._read_head(head)
            if not data and self._missing:
                return
        if not self.first_body_at:
            self.first_body_at = time.monotonic()
            if self._first is not None and not self._first.done():
                self._first.set_result(None)
        self.body_received(data)
        if self._is_last(data):
            self._in_body = False
            if self._done is not None and not self._done.done():
                self._done.set_result(None)

    def _read_head(self, head: bytes) -> None:
        if not head.startswith(b"HTTP/1.1 200"):
            self._fail(f"answered {head[:64]!r}")
        length = _LENGTH.search(head)
        if length is None and not _CHUNKED.search(head):
            self._fail("a response without length cannot be measured")
        self._missing = int(length[1]) if length else -1
        self._in_body = True

    def _is_last(self, data: bytes) -> bool:
        if self._missing >= 0:
            self._missing -= len(data)
            return self._missing <= 0
        self._tail = (self._tail + data[-5:])[-5:]
        return self._tail == _LAST_CHUNK

    def _fail(self, reason: str) -> None:
        for future in (self._done, self._first):
            if future is not None and not future.done():
                future.set_exception(BenchError(reason))
