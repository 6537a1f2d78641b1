"""Rules of a tunnel: bytes across in the call that brings them, room awaited on either side, and one end for both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from pixiu_py.errors import ClientGone
from pixiu_py.http.tunnel import TunnelBody
from tests.fakes.peer import PATIENCE, SlowSink, start


class End:
    """One side of the tunnel: what it was sent, and whether it is being read from."""

    def __init__(self) -> None:
        self.transport: End | None = self
        self.received: list[bytes] = []
        self.speak: Callable[[bytes], None] = lambda data: pytest.fail("no tunnel yet")
        self.reading = True
        self.writing_paused = False
        self.aborted = False
        self.room = asyncio.Event()
        self.lost: ConnectionError | None = None

    def start_tunnel(self, receive: Callable[[bytes], None]) -> None:
        self.speak = receive

    def write(self, data: bytes) -> None:
        self.received.append(data)

    def abort(self) -> None:
        self.aborted = True

    async def _drain_helper(self) -> None:
        await self.room.wait()
        if self.lost is not None:
            raise self.lost

    def _pause_transport_reading(self) -> None:
        self.reading = False

    def _resume_transport_reading(self) -> None:
        self.reading = True


class Tunnel:
    """A tunnel that is being piped."""

    def __init__(self, idle: float = 0.0, room: int = 2**31) -> None:
        self.endpoint, self.client, self.sink = End(), End(), SlowSink(room)
        self.body = TunnelBody(self.endpoint, self.client, idle)  # type: ignore[arg-type]
        self.task = start(self.body.pipe(self.sink))

    async def ended(self) -> None:
        await asyncio.wait_for(self.task, PATIENCE)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0)


async def opened(**options: float) -> Tunnel:
    tunnel = Tunnel(**options)  # type: ignore[arg-type]
    await asyncio.sleep(0)
    return tunnel


async def test_bytes_cross_in_the_call_that_brings_them() -> None:
    """Both ways; the head of the 101 goes first."""
    tunnel = await opened()
    assert tunnel.sink.head_flushed.is_set()
    tunnel.client.speak(b"ping")
    tunnel.endpoint.speak(b"pong")
    assert (tunnel.endpoint.received, tunnel.sink.chunks) == ([b"ping"], [b"pong"])
    tunnel.endpoint.speak(b"")
    await tunnel.ended()


@pytest.mark.parametrize("who", ["client", "endpoint"])
async def test_end_of_one_side_is_the_end_of_both(who: str) -> None:
    """The response is then complete, and the endpoint's connection closed."""
    tunnel = await opened()
    getattr(tunnel, who).speak(b"last")
    getattr(tunnel, who).speak(b"")
    await tunnel.ended()
    assert (tunnel.endpoint.aborted, tunnel.sink.finished) == (True, True)
    assert tunnel.sink.chunks + tunnel.endpoint.received == [b"last"]


async def test_client_that_is_full_stops_the_endpoint() -> None:
    """It is read from again when there is room."""
    tunnel = await opened(room=1)
    tunnel.endpoint.speak(b"one")
    assert not tunnel.endpoint.reading
    tunnel.sink.opened.set()
    await tunnel.until(lambda: tunnel.endpoint.reading)
    tunnel.endpoint.speak(b"")
    await tunnel.ended()


async def test_endpoint_that_is_full_stops_the_client() -> None:
    """The same the other way round."""
    tunnel = await opened()
    tunnel.endpoint.writing_paused = True
    tunnel.client.speak(b"one")
    assert not tunnel.client.reading
    tunnel.endpoint.room.set()
    await tunnel.until(lambda: tunnel.client.reading)
    tunnel.client.speak(b"")
    await tunnel.ended()


async def test_endpoint_that_is_lost_while_it_is_full_is_the_end() -> None:
    """Nobody waits for room that will never be."""
    tunnel = await opened()
    tunnel.endpoint.writing_paused = True
    tunnel.client.speak(b"one")
    tunnel.endpoint.lost = ConnectionResetError()
    tunnel.endpoint.room.set()
    await tunnel.ended()


async def test_bytes_for_an_endpoint_that_has_gone_are_the_end() -> None:
    """There is nowhere to send them."""
    tunnel = await opened()
    tunnel.endpoint.transport = None
    tunnel.client.speak(b"anyone?")
    await tunnel.ended()
    assert tunnel.endpoint.received == []


async def test_client_that_has_gone_is_the_end() -> None:
    """Told by the write that fails."""
    tunnel = await opened()

    def gone(chunk: bytes) -> bool:
        raise ClientGone

    tunnel.sink.write = gone  # type: ignore[method-assign]
    tunnel.endpoint.speak(b"anyone?")
    await tunnel.ended()
    assert tunnel.endpoint.aborted


async def test_silent_tunnel_is_closed() -> None:
    """After the idle time, if no side has said anything in it."""
    tunnel = await opened(idle=0.02)
    await tunnel.ended()
    assert tunnel.endpoint.aborted


@pytest.mark.parametrize("who", ["client", "endpoint"])
async def test_tunnel_in_use_is_kept(who: str) -> None:
    """Whichever side speaks."""
    tunnel = await opened(idle=0.05)
    for _ in range(8):
        await asyncio.sleep(0.02)
        getattr(tunnel, who).speak(b".")
    assert not tunnel.task.done()
    await tunnel.ended()


async def test_cancelled_tunnel_closes_the_endpoint() -> None:
    """The client's connection is lost: aiohttp cancels the exchange."""
    tunnel = await opened()
    tunnel.task.cancel()
    await asyncio.wait((tunnel.task,))
    assert (tunnel.task.cancelled(), tunnel.endpoint.aborted, tunnel.sink.finished) == (True, True, False)


async def test_tunnel_that_never_began_closes_the_endpoint() -> None:
    """A filter failed on the 101."""
    endpoint = End()
    TunnelBody(endpoint, End(), 0).abort()  # type: ignore[arg-type]
    assert endpoint.aborted
