"""The access log: one JSON line per exchange, after its last byte.

Lines are collected and written by one worker thread, so that neither a slow disk nor a stuck reader of standard output
delays a request. What does not fit is dropped and counted, never waited for. No header, query or body is ever in a line:
they are where secrets are.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import stat
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING

import orjson
import structlog

from pixiu_py.errors import GatewayError, StartError

if TYPE_CHECKING:
    from pixiu_py.config.model import AccessLog as AccessLogConfig
    from pixiu_py.http.exchange import Attempt, Exchange

log = structlog.get_logger("pixiu_py.access_log")

#: While a write is under way, this many buffers' worth of lines are kept.
_BACKLOG = 4
#: A pipe that nobody has opened for reading is refused and not waited for.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
#: Milliseconds after which a writer that waits for a reader looks up whether it still should.
_LOOK_UP = 100
#: Of a model's name no more than this is logged; a path that is longer is rendered anew each time.
_LONGEST_MODEL = 128
_LONGEST_REMEMBERED = 256


class AccessLog:
    """Formats, collects and writes access-log lines."""

    def __init__(self, config: AccessLogConfig) -> None:
        self._config = config
        self._lines: list[bytes] = []
        self._size = 0
        self._fd = -1
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Future[None] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._give_up = threading.Event()
        #: Lines of the write that is under way.
        self._sent = 0
        #: Lines that could not be kept or written, and how many of them the log has been told of.
        self.dropped = 0
        self._told = 0

    @property
    def path(self) -> str:
        """Where the lines go; ``-`` is standard output."""
        return self._config.path

    def start(self) -> None:
        """Open the file. Raises ``StartError``."""
        path = self._config.path
        try:
            self._fd = sys.stdout.fileno() if path == "-" else _open(path)
        except OSError as error:
            raise StartError(f"access log {path}: {error.strerror}") from error
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="access-log")

    def write(self, exchange: Exchange) -> None:
        """Take one line. Costs no system call."""
        if self._loop is None:
            return
        if self._size > self._config.buffer_size * _BACKLOG:
            self.dropped += 1
            return
        text = line(exchange, time.monotonic(), time.time())
        self._lines.append(text)
        self._size += len(text)
        if self._size >= self._config.buffer_size:
            self._flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(self._config.flush_interval, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._lines or self._writing is not None or self._loop is None:
            return
        self._writing = self._loop.run_in_executor(self._thread, _write_all, self._fd, self._take(), self._give_up)
        self._writing.add_done_callback(self._written)

    def _take(self) -> bytes:
        block = b"".join(self._lines)
        self._sent = len(self._lines)
        self._lines.clear()
        self._size = 0
        return block

    def _written(self, future: asyncio.Future[None]) -> None:
        self._writing = None
        error = future.exception()
        if error is not None:
            log.error("access log cannot be written", error=str(error), lines=self._sent)
            self.dropped += self._sent
            self._told += self._sent
        if self.dropped > self._told:
            log.warning("access log lines dropped: the writer is too slow", dropped=self.dropped - self._told)
            self._told = self.dropped
        if self._lines:
            self._flush()

    async def close(self) -> None:
        """Write what is left and close the file. A reader that is stuck is waited for no longer than ``close_timeout``."""
        if self._loop is not None:
            self._loop.call_later(self._config.close_timeout, self._give_up.set)
        while self._writing is not None or self._lines:
            self._flush()
            if self._writing is not None:
                await asyncio.wait((self._writing,))
                await asyncio.sleep(0)  # let the done callback run
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._thread is not None:
            self._thread.shutdown()
        if self._fd >= 0 and self._config.path != "-":
            os.close(self._fd)
        self._fd = -1
        self._loop = None


def _open(path: str) -> int:
    fd = os.open(path, _FLAGS, 0o640)
    os.set_blocking(fd, True)  # whether it takes something is looked up before each write
    return fd


def line(exchange: Exchange, now: float, wall: float) -> bytes:
    """One line of JSON. ``now`` is monotonic time, ``wall`` the Unix time, both in seconds; durations are milliseconds.

    What many requests have in common is rendered once and remembered: to serialise all of it for each would take a tenth
    of the time that a whole request takes.
    """
    request = exchange.request
    attempts = exchange.attempts
    route = exchange.route
    cluster = exchange.cluster
    started = exchange.started
    last = attempts[-1] if attempts else None
    # The path and the model are the client's, so that they may be of any length: long ones are not remembered.
    model = last.model[:_LONGEST_MODEL] if last is not None else ""
    render = _common if len(request.path) <= _LONGEST_REMEMBERED else _common.__wrapped__
    common = render(
        exchange.listener,
        request.client_address,
        request.method,
        request.path,
        route.template if route is not None else "",
        exchange.status,
        exchange.end_reason,
        _kind(exchange.error) if exchange.error is not None else "",
        cluster.name if cluster is not None else "",
        model,
    )
    endpoint, attempt = _attempt(last) if last is not None else (b'""', b"")
    usage = exchange.params.get("usage")
    return (
        b'{"time":%.3f,"request_id":"%b",%b,"endpoint":%b,"bytes_in":%d,"bytes_out":%d,"first_byte_ms":%b,"total_ms":%.3f,"attempts":[%b]%b}\n'
        % (
            wall,
            exchange.request_id.encode("ascii"),
            common,
            endpoint,
            request.body.received,
            exchange.bytes_sent,
            b"%.3f" % ((exchange.first_byte - started) * 1e3) if exchange.first_byte else b"null",
            (now - started) * 1e3,
            attempt if len(attempts) < 2 else b",".join(map(_one_of_several, attempts)),
            b"" if usage is None else b',"usage":' + orjson.dumps(usage),
        )
    )


def _kind(error: BaseException) -> str:
    """A foreign exception is a fault in the gateway or in a filter, and says nothing else that could be logged safely."""
    kind: str = getattr(error, "kind", "" if isinstance(error, asyncio.CancelledError) else GatewayError.kind)
    return kind


@lru_cache(maxsize=2048)
def _common(*values: object) -> bytes:
    """The part of a line that many share, without its braces."""
    return _json(dict(zip(_COMMON, values, strict=True)))[1:-1]


_COMMON = ("listener", "client", "method", "path", "route", "status", "end", "error", "cluster", "model")


def _attempt(attempt: Attempt) -> tuple[bytes, bytes]:
    """The endpoint of an attempt, and all that is told of it."""
    endpoint, common = _common_of_attempt(attempt.endpoint_id, attempt.address, attempt.status, attempt.error)
    return endpoint, b'{%b,"ms":%.3f}' % (common, attempt.seconds * 1e3)


def _one_of_several(attempt: Attempt) -> bytes:
    """What is told of an attempt beside others, which may have been for other models."""
    told = _attempt(attempt)[1]
    if not attempt.model:
        return told
    return b'{"model":%b,%b' % (json.dumps(attempt.model[:_LONGEST_MODEL]).encode("ascii"), told[1:])


# One for each endpoint, so that large clusters have their place; what is asked of few endpoints stays small.
@lru_cache(maxsize=16_384)
def _common_of_attempt(endpoint: str, address: str, status: int, error: str) -> tuple[bytes, bytes]:
    fields: dict[str, object] = {"endpoint": endpoint, "address": address, "status": status, "error": error}
    return json.dumps(endpoint).encode("ascii"), _json(fields)[1:-1]


def _json(fields: dict[str, object]) -> bytes:
    """JSON in ASCII. Bytes of a path that are no text stay as \\udcXX, where orjson would refuse."""
    return json.dumps(fields, separators=(",", ":")).encode("ascii")


def _write_all(fd: int, data: bytes, give_up: threading.Event) -> None:
    """Write everything. A pipe that nobody reads is waited for until ``give_up`` is set; raises ``TimeoutError`` then."""
    ready = select.poll()
    ready.register(fd, select.POLLOUT)
    # A pipe that is ready takes this much without blocking (POSIX), a file takes all.
    piece = select.PIPE_BUF if stat.S_ISFIFO(os.fstat(fd).st_mode) else len(data)
    view = memoryview(data)
    while view:
        if ready.poll(_LOOK_UP):
            view = view[os.write(fd, view[:piece]) :]
        elif give_up.is_set():
            raise TimeoutError("nobody reads it")
