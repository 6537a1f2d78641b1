"""What one request costs, counted and not timed: writes, wake-ups of tasks, calls, garbage.

A whole gateway over transports of the test's own. A later change that doubles the work fails here, on any machine.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable
from types import FrameType
from typing import Any

import pytest

from pixiu_py.gateway import Gateway
from pixiu_py.http.connection import DownstreamConnection
from pixiu_py.upstream.connection import UpstreamConnection
from pixiu_py.upstream.pool import ConnectionPool
from tests.fakes.client import PATIENCE
from tests.fakes.conf import endpoint, llm_conf
from tests.fakes.gateway import RunningGateway

REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nUser-Agent: test\r\nAccept: */*\r\nAuthorization: Bearer x\r\n"
    b"Connection: keep-alive\r\nContent-Type: application/json\r\nContent-Length: 27\r\n\r\n"
    b'{"model":"m","messages":[]}'
)
PLAIN = (
    b"HTTP/1.1 200 OK\r\nDate: x\r\nServer: test\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n"
    b'{"ok":true}'
)
STREAM = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'12\r\ndata: {"a": "b"}\n\n\r\n'
DONE = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"

#: Functions of ours entered, and coroutines resumed, for one plain request, from the client's bytes to the access-log line;
#: the same with an id of its own in its head and in the answer's; when neither head is like one that has been seen before;
#: and for one event of a stream. Measured, with a little room. Raise them only with a reason.
CALLS_PER_REQUEST = 102
CALLS_PER_REQUEST_WITH_ID = 120
CALLS_PER_NEW_REQUEST = 127
CALLS_PER_EVENT = 1


class Wire(asyncio.Transport):
    """A transport that hands what is written to the test."""

    def __init__(self, on_write: Callable[[bytes], None]) -> None:
        super().__init__()
        self._on_write = on_write
        self.writes: list[bytes] = []
        self._closing = False

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))
        self._on_write(data)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    abort = close

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    def pause_reading(self) -> None:
        """Nothing comes by itself."""

    def resume_reading(self) -> None:
        """Nothing comes by itself."""


class Bench:
    """One client connection and one upstream connection of a running gateway, both played by the test."""

    def __init__(self, gateway: Gateway) -> None:
        (listener,) = gateway._listeners.values()
        self.client: DownstreamConnection = listener._server()  # type: ignore[attr-defined]
        self.answered = asyncio.Event()
        self.asked = asyncio.Event()
        self.wire = Wire(lambda _: self.answered.set())
        self.client.connection_made(self.wire)
        self.upstream: UpstreamConnection | None = None
        self.upstream_wire = Wire(lambda _: self.asked.set())

    def connect(self, pool: ConnectionPool) -> UpstreamConnection:
        if self.upstream_wire.is_closing():
            self.upstream_wire = Wire(lambda _: self.asked.set())
        self.upstream = UpstreamConnection(asyncio.get_running_loop(), pool)
        self.upstream.connection_made(self.upstream_wire)
        return self.upstream

    async def ask(self, head: bytes = PLAIN, request: bytes = REQUEST) -> None:
        """One request, up to what the endpoint says first."""
        self.answered.clear()
        self.asked.clear()
        self.client.data_received(request)
        await self.asked.wait()
        assert self.upstream is not None
        self.upstream.data_received(head)
        await self.answered.wait()
        await settle()

    def say(self, data: bytes) -> None:
        """The endpoint goes on."""
        assert self.upstream is not None
        self.upstream.data_received(data)


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def bench(gateway: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    running: RunningGateway = await gateway(llm_conf(endpoint(1, fallback=True, health_check_interval=5000, retry=1)))
    made = Bench(running.gateway)

    async def connect(pool: ConnectionPool) -> UpstreamConnection:
        return made.connect(pool)

    monkeypatch.setattr(ConnectionPool, "_open", connect)
    for _ in range(4):  # there is a connection, and caches are warm
        await made.ask()
    made.wire.writes.clear()
    made.upstream_wire.writes.clear()
    yield made
    made.client.connection_lost(None)
    await settle()


def calls(run: Callable[[], None]) -> int:
    """Python functions entered while ``run`` runs."""
    count = 0

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call" and "pixiu_py" in frame.f_code.co_filename

    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


async def test_plain_answer_is_one_write_and_its_request_another(bench: Bench) -> None:
    """Head and body go together, in both directions."""
    for _ in range(10):
        await bench.ask()
    assert (len(bench.wire.writes), len(bench.upstream_wire.writes)) == (10, 10)


async def test_event_of_a_stream_is_one_write_and_wakes_nobody(bench: Bench) -> None:
    """It has gone to the client when the endpoint's bytes have been taken: no task ran in between."""
    await bench.ask(STREAM + EVENT)
    before = len(bench.wire.writes)
    for number in range(1, 11):
        bench.say(EVENT)
        assert len(bench.wire.writes) == before + number
    bench.say(DONE)
    await settle()
    assert bench.wire.writes[-1].endswith(b"0\r\n\r\n")


async def test_calls_of_an_event(bench: Bench) -> None:
    await bench.ask(STREAM + EVENT)
    bench.say(EVENT)
    assert calls(lambda: bench.say(EVENT)) <= CALLS_PER_EVENT
    bench.say(DONE)
    await settle()


async def calls_of_a_request(bench: Bench, field: bytes = b"") -> int:
    """The fewest of several: a timer of the loop may strike during any of them. ``field`` is given a number each time."""
    counts = []
    for number in range(12):
        counts.append(0)
        new = field.replace(b"#", b"%d" % number) + b"\r\n"

        def profile(frame: FrameType, event: str, argument: Any) -> None:
            counts[-1] += event == "call" and "pixiu_py" in frame.f_code.co_filename

        sys.setprofile(profile)
        try:
            await bench.ask(PLAIN.replace(b"\r\n", new, 1), REQUEST.replace(b"\r\n", new, 1))
        finally:
            sys.setprofile(None)
    return min(counts)


async def test_calls_of_a_plain_request(bench: Bench) -> None:
    assert 0 < await calls_of_a_request(bench) <= CALLS_PER_REQUEST


async def test_calls_of_a_request_with_an_id(bench: Bench) -> None:
    """No parser is needed for it."""
    assert CALLS_PER_REQUEST < await calls_of_a_request(bench, b"\r\nX-Number: #") <= CALLS_PER_REQUEST_WITH_ID


async def test_calls_of_a_request_that_is_like_no_other(bench: Bench) -> None:
    """The ways round the parsers must not become the only ways that are cheap."""
    assert CALLS_PER_REQUEST < await calls_of_a_request(bench, b"\r\nCookie: #") <= CALLS_PER_NEW_REQUEST


async def test_request_leaves_no_garbage_in_cycles(bench: Bench) -> None:
    """Everything goes when its last reference goes; the collector would take a tenth of the time."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            await bench.ask()
        assert gc.collect() == 0
    finally:
        gc.enable()


async def test_failed_request_leaves_no_garbage_either(bench: Bench) -> None:
    """An error knows the frames that it went through, and they know the exchange: the two must not keep each other."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            bench.answered.clear()
            bench.asked.clear()
            bench.client.data_received(REQUEST)
            for _ in range(2):  # once for each try
                await asyncio.wait_for(bench.asked.wait(), PATIENCE)
                bench.asked.clear()
                bench.say(b"nonsense\r\n\r\n")
                await settle()
            assert bench.answered.is_set()
        assert b"502 Bad Gateway" in bench.wire.writes[-1]
        assert gc.collect() == 0
    finally:
        gc.enable()


async def test_client_that_leaves_leaves_no_garbage(bench: Bench) -> None:
    gc.collect()
    gc.disable()
    try:
        bench.asked.clear()
        bench.client.data_received(REQUEST)
        await bench.asked.wait()
        bench.client.connection_lost(None)
        await settle()
        assert gc.collect() == 0
    finally:
        gc.enable()
