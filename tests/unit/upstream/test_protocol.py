"""Bytes in, a response out: what the parser half of a connection keeps, and what it says of bytes that are no response."""

from __future__ import annotations

import asyncio

import pytest

from pixiu_py.errors import PixiuError, UpstreamProtocolError, UpstreamReset
from pixiu_py.http.body import take_buffered
from pixiu_py.upstream.protocol import ResponseProtocol
from pixiu_py.upstream.response_head import KnownResponses, ResponseMemory
from tests.fakes.transport import FedTransport


class Reading(ResponseProtocol):
    """Counts what it is told."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop(), ResponseMemory(KnownResponses()))
        self.arrivals = 0
        self.lost = 0
        self.connection_made(FedTransport())
        self._expect(with_body=True)

    def _arrived(self) -> None:
        self.arrivals += 1

    def _lost(self) -> None:
        self.lost += 1

    @property
    def outcome(self) -> tuple[int, PixiuError | None]:
        return (self._head.status if self._head else 0), self._error


async def test_head_and_body_are_kept() -> None:
    reading = Reading()
    reading.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    assert (reading.outcome, reading.has_body) == ((200, None), False)
    reading.data_received(b"ok")
    assert reading.has_body
    assert take_buffered(reading._payload) == b"ok"
    assert reading.arrivals == 2


async def test_interim_responses_are_not_the_answer() -> None:
    reading = Reading()
    reading.data_received(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    assert reading.outcome == (0, None)
    reading.data_received(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert reading.outcome == (204, None)


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 000 Oh\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["no HTTP", "no length", "no status", "gzip, chunked", "chunked, gzip", "gzip", "two answers"],
)
async def test_what_is_no_response_ends_the_connection(data: bytes) -> None:
    reading = Reading()
    reading.data_received(data)
    assert isinstance(reading.outcome[1], UpstreamProtocolError)
    assert isinstance(reading.transport, FedTransport)
    assert reading.transport.closed


@pytest.mark.parametrize("seen", [b"", b"HTTP/1.1 2"])
async def test_reset_before_the_head_says_whether_any_byte_had_come(seen: bytes) -> None:
    """Only a connection that gave nothing at all may be replaced silently."""
    reading = Reading()
    if seen:
        reading.data_received(seen)
    reading.connection_lost(ConnectionResetError())
    error = reading.outcome[1]
    assert isinstance(error, UpstreamReset)
    assert error.bytes_seen is bool(seen)
    assert reading.lost == 1


async def test_clean_close_ends_a_body_that_has_no_other_end() -> None:
    reading = Reading()
    reading.data_received(b"HTTP/1.1 200 OK\r\n\r\nall of it")
    reading.connection_lost(None)
    assert reading.outcome == (200, None)
    assert reading._payload.is_eof()


async def test_clean_close_in_the_middle_of_a_body_is_a_reset() -> None:
    reading = Reading()
    reading.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    reading.connection_lost(None)
    error = reading.outcome[1]
    assert isinstance(error, UpstreamReset)
    assert error.bytes_seen


async def test_after_a_101_every_byte_goes_into_the_tunnel() -> None:
    """Those that came in one piece with the head, too."""
    reading = Reading()
    reading.data_received(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nab")
    received: list[bytes] = []
    reading.start_tunnel(received.append)
    reading.data_received(b"cd")
    reading.connection_lost(None)
    assert received == [b"ab", b"cd", b""]
