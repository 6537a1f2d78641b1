"""The mock engine behind every proxy: OpenAI-shaped replies and streams, uploads, downloads; one process on uvloop.

It parses just enough of HTTP/1.1 to be cheaper than any proxy in front of it. What it does is fixed when it starts, so
that proxies which rewrite paths or drop queries see the same engine:

- POST with ``"stream": true`` in the body: ``--events`` events, one write each, ``--pause-ms`` apart. Each carries the
  monotonic clock (µs) at which it was written as its token, so that the client can tell how long it travelled.
- POST ``/upload``: reads the body, answers with its length. GET ``/download``: ``--download`` bytes.
- Any other POST: a chat completion of about 1 KB. Any other GET: a short JSON document.

With ``--new 1`` each completion has an id of its own in its head, so that no head comes twice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from typing import cast

import uvloop

_BLOCK = bytes(262_144)
#: A stream's token: microseconds of the monotonic clock, always this many digits.
STAMP_DIGITS = 16

_EVENT = (
    'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1760000000,"model":"bench-model",'
    '"choices":[{"index":0,"delta":{"content":"%016d"},"finish_reason":null}]}\n\n'
)
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def _reply(document: object) -> bytes:
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_STREAM_END = _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
_COMPLETION = _reply(
    {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1760000000,
        "model": "bench-model",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "All work and no play makes a dull benchmark. " * 17},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 200, "completion_tokens": 180, "total_tokens": 380},
    }
)
_DOCUMENT = _reply({"status": "ok", "object": "list", "data": [{"id": "bench-model", "object": "model"}]})


class Connection(asyncio.Protocol):
    """One connection from a proxy. Requests are answered one after the other; pipelining is not expected."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.loop = asyncio.get_running_loop()
        self.head = b""
        self.kept: list[bytes] = []
        self.received = 0
        self.missing = 0
        self.answered = 0
        self.chunked = False
        self.to_send = 0
        self.writable = True
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.to_send = 0
        if self.timer is not None:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self.received:
            self._body(data)
            return
        self.head += data
        head, found, body = self.head.partition(b"\r\n\r\n")
        if not found:
            return
        self.head = head
        lowered = head.lower()
        self.chunked = b"\r\ntransfer-encoding: chunked" in lowered
        _, has_length, length = lowered.partition(b"\r\ncontent-length:")
        self.missing = int(length.partition(b"\r\n")[0]) if has_length else 0
        self.received = 1
        self.kept.clear()
        self._body(body)

    def _body(self, data: bytes) -> None:
        """Take a piece of the request body; answer when it is complete."""
        self.received += len(data)
        if self.received < 65_536:
            self.kept.append(data)
        if self.chunked:
            if not data.endswith(b"0\r\n\r\n"):
                return
        else:
            self.missing -= len(data)
            if self.missing > 0:
                return
        size, head = self.received - 1, self.head
        self.head, self.received = b"", 0
        self._answer(head, size)

    def _answer(self, head: bytes, size: int) -> None:
        if head.startswith(b"POST /upload"):
            self.transport.write(_reply({"bytes": size}))
        elif head.startswith(b"POST"):
            body = b"".join(self.kept)
            if b'"stream": true' in body or b'"stream":true' in body:
                self.transport.write(_STREAM_HEAD)
                self._event(self.options.events)
            elif self.options.new:
                self.answered += 1
                own = b"X-Answer: %016d-%08d\r\n" % (id(self), self.answered)
                self.transport.write(_COMPLETION.replace(b"\r\n", b"\r\n" + own, 1))
            else:
                self.transport.write(_COMPLETION)
        elif head.startswith(b"GET /download"):
            self.to_send = self.options.download
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self.to_send)
            self._send()
        else:
            self.transport.write(_DOCUMENT)

    def _event(self, left: int) -> None:
        if self.transport.is_closing():
            return
        if not left:
            self.transport.write(_STREAM_END)
            return
        event = (_EVENT % (time.monotonic_ns() // 1000)).encode()
        self.transport.write(_chunk(event))
        self.timer = self.loop.call_later(self.options.pause_ms / 1000, self._event, left - 1)

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        self._send()

    def _send(self) -> None:
        while self.to_send and self.writable:
            block = _BLOCK[: self.to_send]
            self.to_send -= len(block)
            self.transport.write(block)


async def serve(options: argparse.Namespace) -> None:
    """Listen on ``--addresses`` loopback addresses, all on one port, until SIGTERM."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    hosts = [loopback(index) for index in range(options.addresses)]
    server = await loop.create_server(lambda: Connection(options), hosts, options.port, backlog=4096)
    await ended.wait()
    server.close()


def loopback(index: int) -> str:
    """The ``index``-th loopback address: 127.0.0.1, 127.0.0.2, … 127.0.3.232 and so on."""
    return f"127.0.{(index + 1) // 250}.{(index + 1) % 250}" if index >= 249 else f"127.0.0.{index + 1}"


def main() -> None:
    """Entry point of ``python -m benchmarks.upstream``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--addresses", type=int, default=1, help="loopback addresses to listen on")
    parser.add_argument("--events", type=int, default=200, help="events of a stream")
    parser.add_argument("--pause-ms", type=float, default=5.0, help="pause after each event")
    parser.add_argument("--new", type=int, default=0, help="1: no head of an answer is like another")
    parser.add_argument("--download", type=int, default=2**20, help="bytes of GET /download")
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
