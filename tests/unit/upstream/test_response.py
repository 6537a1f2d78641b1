"""A response as proxies see it: its length, its pieces, and letting go of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from multidict import CIMultiDict

from pixiu_py.errors import UpstreamReset
from pixiu_py.upstream.connection import UpstreamConnection
from pixiu_py.upstream.response import UpstreamResponse, content_length
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


def message(**headers: str) -> Any:
    named = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return SimpleNamespace(code=200, reason="OK", raw_headers=(), headers=named, chunked=False)


def response(connection: Connection) -> UpstreamResponse:
    return UpstreamResponse(cast(UpstreamConnection, connection), message(), None)


@pytest.mark.parametrize(("declared", "length"), [("12", 12), ("0", 0), ("", None), ("-1", None), ("1 2", None)])
def test_length_is_what_is_declared(declared: str, length: int | None) -> None:
    assert content_length(message(Content_Length=declared)) == length


def test_chunked_body_has_no_length() -> None:
    chunked = message(Content_Length="5")
    chunked.chunked = True
    assert content_length(chunked) is None


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
