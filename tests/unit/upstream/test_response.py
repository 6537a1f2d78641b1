"""A response as proxies see it: its length, its pieces, and letting go of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from multidict import CIMultiDict

from pixiu_py.errors import UpstreamReset
from pixiu_py.upstream.connection import UpstreamConnection
from pixiu_py.upstream.response import UpstreamResponse
from pixiu_py.upstream.response_head import ResponseHead
from tests.fakes.exchange import ListSink


class Connection:
    """Gives these pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = [*pieces, b""]
        self.abandoned = 0
        self.has_body = False

    async def read(self) -> bytes:
        return self._pieces.pop(0)

    async def pipe(self, sink: Any) -> None:
        for piece in self._pieces:
            sink.write(piece)
        sink.finish()

    def abandon(self) -> None:
        self.abandoned += 1


HEAD = ResponseHead(
    SimpleNamespace(code=200, reason="OK", raw_headers=(), headers=CIMultiDict(), chunked=False, should_close=False)
)


def response(connection: Connection) -> UpstreamResponse:
    return UpstreamResponse(cast(UpstreamConnection, connection), HEAD, None)


async def test_what_was_looked_at_comes_first_again() -> None:
    body = response(Connection(b"ab", b"cd"))
    first = await body.read()
    body.unread(first)
    assert body.begun
    sink = ListSink()
    await body.pipe(sink)
    assert sink.content == b"abcd"


async def test_whole_body_or_nothing_above_the_limit() -> None:
    assert await response(Connection(b"ab", b"cd")).read_all(4) == b"abcd"
    connection = Connection(b"ab", b"cd")
    assert await response(connection).read_all(3) is None
    assert connection.abandoned == 1


async def test_letting_go_twice_is_letting_go_once() -> None:
    connection = Connection(b"ab")
    body = response(connection)
    body.abort()
    body.abort()
    assert connection.abandoned == 1
    with pytest.raises(UpstreamReset):
        await body.pipe(ListSink())


async def test_body_that_was_read_to_its_end_is_not_let_go_of() -> None:
    """The connection serves somebody else by then."""
    connection = Connection(b"ab")
    body = response(connection)
    await body.read_all(10)
    body.abort()
    assert connection.abandoned == 0


async def test_whole_body_is_taken_piped_or_read_once() -> None:
    """Whoever comes later finds that it is over."""
    for take in (take_whole, pipe, read_all):
        body = UpstreamResponse(None, HEAD, 4, b"abcd")
        assert body.begun
        assert await take(body) == b"abcd"
        assert body.take_whole() is None
        assert await body.read() == b""
        with pytest.raises(UpstreamReset):
            await body.pipe(ListSink())


async def take_whole(body: UpstreamResponse) -> bytes | None:
    return body.take_whole()


async def pipe(body: UpstreamResponse) -> bytes:
    sink = ListSink()
    await body.pipe(sink)
    return sink.content


async def read_all(body: UpstreamResponse) -> bytes | None:
    return await body.read_all(100)


@pytest.mark.parametrize("take", [take_whole, pipe, read_all])
async def test_what_was_put_back_is_part_of_the_whole(take: Any) -> None:
    body = UpstreamResponse(None, HEAD, 4, b"abcd")
    body.unread(await body.read())
    assert await take(body) == b"abcd"


def test_body_of_another_length_than_was_declared_is_not_taken_whole() -> None:
    """That of a HEAD, or one that was chunked: its head says something else."""
    assert UpstreamResponse(None, HEAD, 4, b"").take_whole() is None
    assert UpstreamResponse(None, HEAD, None, b"abcd").take_whole() is None


async def test_whole_body_that_was_let_go_of_is_gone() -> None:
    body = UpstreamResponse(None, HEAD, 4, b"abcd")
    body.abort()
    assert body.take_whole() is None
    with pytest.raises(UpstreamReset):
        await body.pipe(ListSink())
