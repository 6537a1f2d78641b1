"""What a scripted endpoint can do. Where a script has to wait, it waits for an event of the test, never for time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from tests.fakes.upstream import Action, Connection, Request
from tests.fakes.wire import LAST_CHUNK, Raw, chunk

Piece = bytes | asyncio.Event

JSON = (b"Content-Type", b"application/json")
SSE = (b"Content-Type", b"text/event-stream")
_NO_BODY = frozenset((204, 304))


def head(status: int, headers: Sequence[Raw] = (), reason: str = "Whatever") -> bytes:
    """A response head."""
    lines = [f"HTTP/1.1 {status} {reason}".encode(), *(name + b": " + value for name, value in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def respond(
    status: int = 200,
    headers: Sequence[Raw] = (JSON,),
    body: bytes = b"{}",
    *,
    chunked: bool = False,
    split: Sequence[int] = (),
    reason: str = "Whatever",
) -> Action:
    """A complete response. ``split``: positions of the body at which one write, or one chunk, ends."""

    async def run(connection: Connection, request: Request) -> None:
        framing = (b"Transfer-Encoding", b"chunked") if chunked else (b"Content-Length", b"%d" % len(body))
        fields = [*headers] if status in _NO_BODY else [*headers, framing]
        connection.write(head(status, fields, reason))
        if request.method == "HEAD" or status in _NO_BODY:
            return
        for start, end in zip((0, *split), (*split, len(body)), strict=True):
            part = body[start:end]
            connection.write(chunk(part) if chunked and part else part)
            if split:
                await asyncio.sleep(0)  # each part is a write of its own
        if chunked:
            connection.write(LAST_CHUNK)

    return Action(run)


def raw(*pieces: Piece, then: str = "keep") -> Action:
    """Exactly these bytes, waiting at each event. ``then``: ``keep`` the connection, ``close`` it, ``reset`` it."""

    async def run(connection: Connection, request: Request) -> None:
        await _write(connection, pieces)
        await _end(connection, then)

    return Action(run)


def close(after: bytes = b"") -> Action:
    """Close the connection, after some bytes if given."""
    return raw(after, then="close")


def reset(after: bytes = b"") -> Action:
    """Reset the connection, after some bytes if given."""
    return raw(after, then="reset")


def reset_on_accept() -> Action:
    """Reset the connection before anything has been read."""
    return replace(reset(), when="accept")


def early(action: Action) -> Action:
    """The same action before the request's body has been read; the connection closes then."""

    async def run(connection: Connection, request: Request) -> None:
        await action.run(connection, request)
        connection.close()

    return Action(run, when="head")


def stall(release: asyncio.Event | None = None, then: Action | None = None) -> Action:
    """Say nothing until ``release`` is set, or until the client goes."""

    async def run(connection: Connection, request: Request) -> None:
        await (release or asyncio.Event()).wait()
        if then is not None:
            await then.run(connection, request)

    return Action(run)


def stream(events: Sequence[Piece], *, headers: Sequence[Raw] = (SSE,), status: int = 200, then: str = "end") -> Action:
    """A chunked response, a chunk per piece. ``then``: ``end`` it well; ``close``, ``reset``, ``hold``: without end."""

    async def run(connection: Connection, request: Request) -> None:
        connection.write(head(status, [*headers, (b"Transfer-Encoding", b"chunked")]))
        await _write(connection, [chunk(piece) if isinstance(piece, bytes) else piece for piece in events])
        if then == "end":
            connection.write(LAST_CHUNK)
        else:
            await _end(connection, then)

    return Action(run)


def flood(size: int, piece: int = 65536, headers: Sequence[Raw] = (JSON,)) -> Action:
    """A body of ``size`` bytes, sent only as fast as it is taken; ``Connection.sent`` tells how far it has got."""

    async def run(connection: Connection, request: Request) -> None:
        connection.write(head(200, [*headers, (b"Content-Length", b"%d" % size)]))
        left = size
        while left:
            part = min(left, piece)
            connection.write(b"x" * part)
            connection.upstream.notify()
            await connection.drain()
            left -= part

    return Action(run)


async def _write(connection: Connection, pieces: Sequence[Piece]) -> None:
    for piece in pieces:
        if isinstance(piece, bytes):
            connection.write(piece)
            await asyncio.sleep(0)  # lets the other side see the pieces one by one
        else:
            await piece.wait()


async def _end(connection: Connection, then: str) -> None:
    if then == "close":
        connection.close()
    elif then == "reset":
        await _flushed(connection)
        connection.reset()
    elif then == "hold":
        await asyncio.Event().wait()
    else:
        assert then == "keep", then


async def _flushed(connection: Connection) -> None:
    connection.transport.set_write_buffer_limits(0)
    await connection.drain()
