"""Comments while everybody waits: only in silence, only between events, and never at the price of the answer."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from pixiu_py.errors import ClientGone, NoEndpoint, UpstreamReset
from pixiu_py.filters.llm.dialect import CHAT
from pixiu_py.filters.llm.proxy.heartbeat import COMMENT, with_heartbeats
from pixiu_py.http.body import Body
from pixiu_py.http.exchange import Response
from pixiu_py.http.headers import Headers
from pixiu_py.tasks import Tasks
from tests.fakes.exchange import ListSink
from tests.fakes.peer import PATIENCE, start

SSE = Headers([(b"Content-Type", b"text/event-stream")])
EVENT = b"data: 1\n\n"
INTERVAL = 0.03


class Events:
    """A body that sends an event at each turn of ``go``, and its end at the turn after the last."""

    length: int | None = None

    def __init__(self, count: int = 1, error: BaseException | None = None) -> None:
        self.go = asyncio.Semaphore(0)
        self.aborted = False
        self._count, self._error = count, error

    async def pipe(self, sink: Any) -> None:
        for _ in range(self._count):
            await self.go.acquire()
            sink.write(EVENT)
        if self._error is not None:
            raise self._error
        await self.go.acquire()
        sink.finish()

    def abort(self) -> None:
        self.aborted = True


class Case:
    """A walk that answers when it is told to."""

    def __init__(self, outcome: Response | BaseException, at_once: bool = False) -> None:
        self.tasks = Tasks("test")
        self.found = asyncio.Event()
        self.cancelled = False
        self._outcome = outcome
        if at_once:
            self.found.set()

    async def answer(self) -> Response:
        try:
            await self.found.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome

    async def response(self, interval: float = INTERVAL) -> Response:
        walk = cast(Any, SimpleNamespace(answer=self.answer, dialect=CHAT))
        return await asyncio.wait_for(with_heartbeats(walk, interval, self.tasks), PATIENCE)


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.002)


def piping(response: Response) -> tuple[ListSink, asyncio.Task[None]]:
    sink = ListSink()
    return sink, start(cast(Body, response.body).pipe(cast(Any, sink)))


# --- an answer in time -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"{}", b""])
async def test_quick_answer_is_not_touched(body: bytes) -> None:
    """It is the walk's own."""
    found = Response(400, Headers(), body)
    assert await Case(found, at_once=True).response() is found
    assert found.body is body


async def test_quick_error_is_an_error() -> None:
    """As without heartbeats: it has a status."""
    with pytest.raises(NoEndpoint):
        await Case(NoEndpoint(), at_once=True).response()


async def test_silence_within_a_stream_is_filled() -> None:
    """Again and again, and only in between: an event gives the whole interval anew."""
    body = Events()
    sink, task = piping(await Case(Response(200, SSE, body), at_once=True).response())
    await until(lambda: sink.content.count(COMMENT) >= 3)
    assert sink.content.strip(b"\n") == (COMMENT * (len(sink.content) // len(COMMENT))).strip(b"\n")
    body.go.release()
    body.go.release()
    await asyncio.wait_for(task, PATIENCE)
    assert sink.chunks[-1] == EVENT
    before = len(sink.chunks)
    await asyncio.sleep(INTERVAL * 2)
    assert (len(sink.chunks), sink.finished) == (before, True)


async def test_busy_stream_has_no_heartbeats() -> None:
    """Nothing is added to what is not silent."""
    body = Events(count=20)
    sink, task = piping(await Case(Response(200, SSE, body), at_once=True).response(0.5))
    for _ in range(21):
        await asyncio.sleep(0.005)
        body.go.release()
    await asyncio.wait_for(task, PATIENCE)
    assert sink.content == EVENT * 20


@pytest.mark.parametrize(
    "fields", [[(b"Content-Type", b"application/json")], [*SSE.raw, (b"Content-Encoding", b"gzip")], []]
)
async def test_what_is_no_readable_stream_gets_no_heartbeats(fields: list[tuple[bytes, bytes]]) -> None:
    """A comment would spoil a document, or a compressed stream, whatever its framing."""
    body = Events()
    response = await Case(Response(200, Headers(fields), body), at_once=True).response()
    assert response.body is body


async def test_broken_stream_stops_its_heartbeats() -> None:
    """They do not outlive it."""
    body = Events(error=UpstreamReset())
    sink, task = piping(await Case(Response(200, SSE, body), at_once=True).response())
    body.go.release()
    with pytest.raises(UpstreamReset):
        await asyncio.wait_for(task, PATIENCE)
    await asyncio.sleep(INTERVAL * 2)
    assert COMMENT not in sink.content


async def test_heartbeat_for_a_client_that_has_gone_is_the_last() -> None:
    """Its exchange is being cancelled; nothing else is to be done about it here."""
    sink, task = piping(await Case(Response(200, SSE, Events()), at_once=True).response())
    tries = []

    def gone(chunk: bytes) -> bool:
        tries.append(chunk)
        raise ClientGone

    sink.write = gone  # type: ignore[method-assign]
    await until(lambda: tries)
    await asyncio.sleep(INTERVAL * 2)
    assert tries == [COMMENT]
    task.cancel()
    await asyncio.wait((task,))


# --- an answer that takes its time -----------------------------------------------------------------------------------


async def test_waiting_client_gets_a_stream() -> None:
    """A 200 and comments until there is an answer, then that answer."""
    body = Events()
    case = Case(Response(200, SSE, body))
    response = await case.response()
    assert (response.status, response.headers.get("content-type")) == (200, "text/event-stream; charset=utf-8")
    sink, task = piping(response)
    await until(lambda: sink.content.count(COMMENT) >= 3)
    case.found.set()
    body.go.release()
    body.go.release()
    await asyncio.wait_for(task, PATIENCE)
    assert sink.content.replace(COMMENT, b"") == EVENT
    assert sink.finished


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (NoEndpoint("no endpoint is available"), "no endpoint is available"),
        (
            Response(429, Headers(), b'{"error":{"message":"slow down"}}'),
            "upstream answered with status 429: slow down",
        ),
        (Response(500, Headers(), b'{"error":"oh"}'), "upstream answered with status 500: oh"),
        (Response(500, Headers(), b"<html>"), "upstream answered with status 500"),
        (Response(500, Headers(), b"[]"), "upstream answered with status 500"),
        (Response(200, Headers(), b"{}"), "upstream answered with something else than an event stream"),
    ],
)
async def test_failure_after_heartbeats_is_an_error_event(outcome: Response | BaseException, message: str) -> None:
    """It is too late for a status."""
    case = Case(outcome)
    sink, task = piping(await case.response())
    case.found.set()
    await asyncio.wait_for(task, PATIENCE)
    text = sink.content.replace(COMMENT, b"").decode()
    assert orjson.loads(text.removeprefix("data: "))["error"]["message"] == message
    assert sink.finished


@pytest.mark.parametrize("fields", [[], [*SSE.raw, (b"Content-Encoding", b"gzip")]])
async def test_answer_that_does_not_fit_into_the_stream_is_let_go_of(fields: list[tuple[bytes, bytes]]) -> None:
    """A document, or compressed events: the client has been promised plain events."""
    body = Events()
    case = Case(Response(200, Headers(fields), body))
    sink, task = piping(await case.response())
    case.found.set()
    await asyncio.wait_for(task, PATIENCE)
    assert b'"error"' in sink.content
    assert body.aborted


# --- a client that leaves ----------------------------------------------------------------------------------------------


async def test_walk_ends_with_its_client() -> None:
    """Before the first heartbeat."""
    case = Case(Response(200))
    asking = start(case.response(PATIENCE))
    await asyncio.sleep(0.01)
    asking.cancel()
    await asyncio.wait((asking,))
    await until(lambda: case.cancelled)
    assert len(case.tasks) == 0


async def test_walk_ends_with_its_stream() -> None:
    """After it, while the walk goes on."""
    case = Case(Response(200))
    response = await case.response()
    _, task = piping(response)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait((task,))
    cast(Body, response.body).abort()
    await until(lambda: case.cancelled)


async def test_what_the_walk_has_found_meanwhile_is_let_go_of() -> None:
    """The client left in the moment in which there was an answer."""
    body = Events()
    case = Case(Response(200, SSE, body))
    response = await case.response()
    case.found.set()
    await until(lambda: len(case.tasks) == 0)
    cast(Body, response.body).abort()
    assert body.aborted


async def test_slow_client_is_waited_for() -> None:
    """Heartbeats respect a full sink."""
    case = Case(Response(200, Headers(), b""))
    response = await case.response()
    sink = ListSink(room=1)
    started = time.monotonic()
    task = start(cast(Body, response.body).pipe(cast(Any, sink)))
    await until(lambda: sink.drains >= 2)
    assert time.monotonic() - started < PATIENCE
    case.found.set()
    await asyncio.wait_for(task, PATIENCE)
