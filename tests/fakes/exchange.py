"""An exchange without a socket: build a request, run a filter on it, collect the body it answers with."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import orjson
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader

from pixiu_py.filters.base import Context
from pixiu_py.http.body import Body, RequestBody, Sink
from pixiu_py.http.exchange import Exchange, Request
from pixiu_py.http.headers import Headers
from pixiu_py.registry import Registry
from pixiu_py.tasks import Tasks


class ListSink:
    """A sink that keeps the chunks as they were written. ``room`` chunks fit before it asks for a ``drain()``."""

    def __init__(self, room: int = 2**31) -> None:
        self.chunks: list[bytes] = []
        self.head_flushed = False
        self.finished = False
        self.drains = 0
        self._room = room

    @property
    def content(self) -> bytes:
        """Everything written so far."""
        return b"".join(self.chunks)

    def write(self, chunk: bytes) -> bool:
        assert not self.finished, "write after finish"
        self.chunks.append(chunk)
        return len(self.chunks) < self._room

    async def drain(self) -> None:
        self.drains += 1
        await asyncio.sleep(0)

    def flush_head(self) -> None:
        self.head_flushed = True

    def finish(self, chunk: bytes = b"") -> None:
        if chunk:
            self.write(chunk)
        self.finished = True


class FramedSink(ListSink):
    """Takes chunks in their framing, too, and keeps it. The framing must be the chunk's."""

    def __init__(self, room: int = 2**31) -> None:
        super().__init__(room)
        self.framed: list[bytes] = []

    def write_framed(self, framed: bytes, chunk: bytes) -> bool:
        assert framed == b"%b\r\n%b\r\n" % (framed.partition(b"\r\n")[0], chunk)
        self.framed.append(framed)
        return self.write(chunk)


class PieceBody:
    """A response body in pieces."""

    def __init__(self, pieces: Sequence[bytes], length: int | None = None) -> None:
        self.length = length
        self.aborted = False
        self._pieces = pieces

    async def pipe(self, sink: Sink) -> None:
        """Write piece by piece, as an endpoint's connection does: the last one comes with the end."""
        for piece in self._pieces[:-1]:
            if not sink.write(piece):
                await sink.drain()
        sink.finish(self._pieces[-1])

    def abort(self) -> None:
        self.aborted = True


def make_body(content: bytes = b"") -> RequestBody:
    """A request body that has arrived completely."""
    loop = cast(asyncio.AbstractEventLoop, object())  # a complete body never waits, so synchronous tests need no loop
    source = StreamReader(BaseProtocol(loop), 2**16, loop=loop)
    source.feed_data(content)
    source.feed_eof()
    return RequestBody(source, len(content))


def make_exchange(
    method: str = "GET",
    target: str = "/",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    json: Any = None,
) -> Exchange:
    """An exchange as the connection manager would hand it to the first filter; ``json`` becomes the body if given."""
    content = orjson.dumps(json) if json is not None else body
    request = Request(method, target, Headers.of(headers or {}), make_body(content))
    return Exchange(request, started=0.0)


def make_context(clock: Callable[[], float] = lambda: 0.0, seed: int = 0, clusters: Any = None) -> Context:
    """A context with a still clock, seeded randomness and an empty registry."""
    return Context(clusters=clusters, registry=Registry(), tasks=Tasks("test"), clock=clock, random=random.Random(seed))


async def chunks_of(body: bytes | Body) -> list[bytes]:
    """The chunks of a response body, as a client's connection would be given them. The body must finish."""
    if isinstance(body, bytes):
        return [body] if body else []
    sink = ListSink()
    await body.pipe(sink)
    assert sink.finished, "the body did not finish its sink"
    return sink.chunks


async def collect(body: bytes | Body) -> bytes:
    """The whole of a response body."""
    return b"".join(await chunks_of(body))
