"""SSE comments that keep a waiting client's connection alive while the endpoints are silent.

The first one commits the gateway to a 200 and an event stream; after it the walk goes on all the same, since no content
has been sent. If all fails then, the client gets an error event instead of a status.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson

from pixiu_py.errors import GatewayError
from pixiu_py.filters.llm.dialect import is_event_stream
from pixiu_py.http.exchange import Response
from pixiu_py.http.headers import Headers

if TYPE_CHECKING:
    from pixiu_py.filters.llm.dialect import Dialect
    from pixiu_py.filters.llm.proxy.walk import Walk
    from pixiu_py.http.body import Body, Sink
    from pixiu_py.tasks import Tasks

COMMENT = b": heartbeat\n\n"
_HEADERS = [(b"Content-Type", b"text/event-stream; charset=utf-8"), (b"Cache-Control", b"no-cache")]


async def with_heartbeats(walk: Walk, interval: float, tasks: Tasks) -> Response:
    """The walk's answer; if it takes longer than ``interval`` seconds, an event stream that begins with heartbeats."""
    task = tasks.spawn(walk.answer(), "walk")
    try:
        await asyncio.wait((task,), timeout=interval)
    except BaseException:
        _drop(task)
        raise
    if not task.done():
        return Response(200, Headers(_HEADERS), WaitingBody(task, walk.dialect, interval))
    response: Response = task.result()
    if not isinstance(response.body, bytes) and is_event_stream(response.headers):
        response.body = BeatingBody(response.body, interval)
    return response


class BeatingBody:
    """An event stream whose silences are filled."""

    length: int | None = None

    def __init__(self, body: Body, interval: float) -> None:
        self._body = body
        self._interval = interval

    async def pipe(self, sink: Sink) -> None:
        """See ``Body.pipe``."""
        beating = BeatingSink(sink, self._interval)
        try:
            await self._body.pipe(beating)
        finally:
            beating.stop()

    def abort(self) -> None:
        """See ``Body.abort``."""
        self._body.abort()


class BeatingSink:
    """Writes a comment whenever nothing has been written for an interval. Only whole events may be written to it."""

    def __init__(self, sink: Sink, interval: float) -> None:
        self._sink = sink
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._timer = self._loop.call_later(interval, self._beat)

    def write(self, chunk: bytes) -> bool:
        """See ``Sink.write``."""
        self._last = self._loop.time()
        return self._sink.write(chunk)

    def finish(self, chunk: bytes = b"") -> None:
        """See ``Sink.finish``."""
        self.stop()
        self._sink.finish(chunk)

    async def drain(self) -> None:
        """See ``Sink.drain``."""
        await self._sink.drain()

    def flush_head(self) -> None:
        """See ``Sink.flush_head``."""
        self._sink.flush_head()

    def stop(self) -> None:
        """No more heartbeats."""
        self._timer.cancel()

    def _beat(self) -> None:
        silent = self._loop.time() - self._last
        if silent >= self._interval:
            try:
                self.write(COMMENT)
            except GatewayError:
                return  # the client has gone; its exchange is being cancelled
            silent = 0.0
        self._timer = self._loop.call_later(self._interval - silent, self._beat)


class WaitingBody:
    """Heartbeats until the walk has an answer, then that answer as the rest of the event stream."""

    length: int | None = None

    def __init__(self, task: asyncio.Task[Response], dialect: Dialect, interval: float) -> None:
        self._task = task
        self._dialect = dialect
        self._interval = interval

    async def pipe(self, sink: Sink) -> None:
        """See ``Body.pipe``."""
        while not self._task.done():
            if not sink.write(COMMENT):
                await sink.drain()
            await asyncio.wait((self._task,), timeout=self._interval)
        try:
            response = self._task.result()
        except GatewayError as error:
            sink.finish(self._dialect.error_event(error.detail, error.kind))
            return
        if not isinstance(response.body, bytes) and response.status < 300 and is_event_stream(response.headers):
            await BeatingBody(response.body, self._interval).pipe(sink)
            return
        message = _message(response)
        self.abort()
        sink.finish(self._dialect.error_event(message, f"status_{response.status}"))

    def abort(self) -> None:
        """See ``Body.abort``."""
        _drop(self._task)


def _drop(task: asyncio.Task[Response]) -> None:
    """End a walk, or let go of what it found."""
    if not task.done():
        task.cancel()
    elif not task.cancelled() and task.exception() is None:
        body = task.result().body
        if not isinstance(body, bytes):
            body.abort()


def _message(response: Response) -> str:
    """What a failed answer says."""
    if response.status < 300:
        return "upstream answered with something else than an event stream"
    general = f"upstream answered with status {response.status}"
    if not isinstance(response.body, bytes):
        return general
    try:
        error = orjson.loads(response.body).get("error")
    except (orjson.JSONDecodeError, AttributeError):
        return general
    text = error.get("message") if isinstance(error, dict) else error
    return f"{general}: {text}" if isinstance(text, str) else general
