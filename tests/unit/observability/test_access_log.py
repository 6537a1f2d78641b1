"""Rules of the access log: one line per exchange, no secrets, no request that waits for it, and bounded memory."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from pixiu_py.config.model import AccessLog as AccessLogConfig
from pixiu_py.errors import NoRoute, StartError
from pixiu_py.http.exchange import Attempt, Exchange
from pixiu_py.observability import access_log as module
from pixiu_py.observability.access_log import AccessLog, line
from tests.fakes.exchange import make_exchange
from tests.fakes.peer import PATIENCE

Start = Callable[..., AccessLog]


@pytest_asyncio.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """``start(path, …)`` starts an access log that is closed in the end."""
    started: list[AccessLog] = []

    def make(path: Path | str = tmp_path / "log", **settings: Any) -> AccessLog:
        log = AccessLog(AccessLogConfig(path=str(path), **{"flush_interval": 60.0, **settings}))
        log.start()
        started.append(log)
        return log

    yield make
    for log in started:
        await log.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.002)  # another thread writes: there is no event


def fields(exchange: Exchange, now: float = 12.5, wall: float = 1700000000.25) -> dict[str, Any]:
    text = line(exchange, now, wall)
    assert text.count(b"\n") == 1
    assert text.endswith(b"}\n")
    found: dict[str, Any] = json.loads(text)
    return found


def served() -> Exchange:
    """An exchange that has gone through two endpoints."""
    exchange = make_exchange("POST", "/v1/x?key=secret", {"Authorization": "Bearer secret"}, b'{"secret":1}')
    exchange.listener, exchange.request_id, exchange.started = "net/http", "id-1", 10.0
    exchange.request.client_address = "192.0.2.1"
    exchange.route = SimpleNamespace(template="/v1/*")  # type: ignore[assignment]
    exchange.cluster = SimpleNamespace(name="main")  # type: ignore[assignment]
    exchange.attempts = [
        Attempt("a", "10.0.0.1:80", "main", 0, "connect_failed", 0.001),
        Attempt("b", "10.0.0.2:80", "main", 200, "", 1.5, "gpt"),
    ]
    exchange.status, exchange.end_reason, exchange.bytes_sent, exchange.first_byte = 200, "complete", 42, 11.25
    exchange.request.body.received = 12
    return exchange


# --- lines -------------------------------------------------------------------------------------------------------------


def test_line_tells_the_whole_story() -> None:
    """Who asked for what, who answered, how it ended, and how long each part took, in milliseconds."""
    assert fields(served()) == {
        "time": 1700000000.25,
        "request_id": "id-1",
        "listener": "net/http",
        "client": "192.0.2.1",
        "method": "POST",
        "path": "/v1/x",
        "route": "/v1/*",
        "status": 200,
        "end": "complete",
        "error": "",
        "cluster": "main",
        "endpoint": "b",
        "model": "gpt",
        "bytes_in": 12,
        "bytes_out": 42,
        "first_byte_ms": 1250,
        "total_ms": 2500,
        "attempts": [
            {"endpoint": "a", "address": "10.0.0.1:80", "status": 0, "error": "connect_failed", "ms": 1},
            {"model": "gpt", "endpoint": "b", "address": "10.0.0.2:80", "status": 200, "error": "", "ms": 1500},
        ],
    }


def test_line_has_no_secret() -> None:
    """No query, header or body is ever in it."""
    assert b"secret" not in line(served(), 0, 0)


def test_line_of_a_request_that_got_nowhere() -> None:
    """No route, no cluster, no attempt, no byte."""
    exchange = make_exchange("GET", "/x")
    exchange.error = NoRoute()
    found = fields(exchange)
    assert (found["route"], found["cluster"], found["endpoint"], found["model"], found["attempts"]) == (
        "",
        "",
        "",
        "",
        [],
    )
    assert (found["status"], found["first_byte_ms"], found["error"]) == (0, None, "no_route")


def test_fault_without_a_kind_is_ours() -> None:
    """A foreign exception says nothing else that could be logged safely; a cancellation is no fault."""
    exchange = make_exchange()
    exchange.error = KeyError("x")
    assert fields(exchange)["error"] == "internal_error"
    exchange.error = asyncio.CancelledError()
    assert fields(exchange)["error"] == ""


def test_usage_is_told_if_some_filter_counted() -> None:
    """As that filter has put it."""
    exchange = make_exchange()
    exchange.params["usage"] = {"prompt_tokens": 3}
    assert fields(exchange)["usage"] == {"prompt_tokens": 3}


@pytest.mark.parametrize("path", ["/\udcff", '/"', "/\\", "/\n", "/é", "/\U0001f600", "/" + "x" * 60_000])
def test_any_path_makes_a_line(path: str) -> None:
    """Bytes that are no text, quotes, line ends: still one line of JSON, in ASCII."""
    exchange = make_exchange("GET", path)
    assert fields(exchange)["path"] == path
    assert line(exchange, 0, 0).isascii()


def test_what_clients_make_up_is_not_remembered_at_any_length() -> None:
    """The cache is bounded in bytes, not only in entries; and a model's name is cut."""
    module._common.cache_clear()
    exchange = make_exchange("GET", "/" + "x" * 1000)
    line(exchange, 0, 0)
    assert module._common.cache_info().currsize == 0
    exchange = make_exchange("GET", "/x")
    exchange.attempts = [Attempt("a", "h:1", "main", model="m" * 2**20)]
    assert fields(exchange)["model"] == "m" * 128
    exchange.attempts *= 2
    assert [attempt["model"] for attempt in fields(exchange)["attempts"]] == ["m" * 128] * 2


# --- writing -------------------------------------------------------------------------------------------------------------


async def test_lines_are_written_together(start: Start, tmp_path: Path) -> None:
    """After the flush interval, in one block, in order; the file is for its owner and group, and appended to."""
    (tmp_path / "log").write_text("before\n")
    log = start(flush_interval=0.02)
    for number in range(3):
        log.write(make_exchange("GET", f"/{number}"))
    assert (tmp_path / "log").read_text() == "before\n"
    await until(lambda: (tmp_path / "log").read_text().count("\n") == 4)
    paths = [json.loads(row)["path"] for row in (tmp_path / "log").read_text().splitlines()[1:]]
    assert paths == ["/0", "/1", "/2"]


async def test_new_file_is_not_for_everybody(start: Start, tmp_path: Path) -> None:
    """Addresses of clients are in it."""
    start()
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) & 0o007 == 0


async def test_full_buffer_is_written_at_once(start: Start, tmp_path: Path) -> None:
    """Without waiting for the interval."""
    log = start(buffer_size=1)
    log.write(make_exchange())
    await until(lambda: (tmp_path / "log").read_text() != "")


async def test_close_writes_what_is_left(start: Start, tmp_path: Path) -> None:
    """After that nothing is taken any more."""
    log = start()
    log.write(make_exchange())
    await log.close()
    assert (tmp_path / "log").read_text().count("\n") == 1
    log.write(make_exchange())
    await log.close()
    assert (tmp_path / "log").read_text().count("\n") == 1


async def test_stuck_reader_costs_lines_and_not_memory_or_time(start: Start) -> None:
    """What does not fit is dropped, counted, and told of once it goes on; requests never wait."""
    reading, writing = os.pipe()
    log = start(f"/dev/fd/{writing}", buffer_size=100_000)
    exchange = make_exchange("GET", "/" + "x" * 1000)
    for _ in range(2000):
        log.write(exchange)
    assert log.dropped > 0
    assert log._size < 1_000_000
    with capture_logs() as logs:
        os.set_blocking(reading, False)
        await until(lambda: _drain(reading) is None and not log._lines and log._writing is None)
    assert [entry["dropped"] for entry in logs] == [log.dropped]
    await log.close()
    os.close(reading)
    os.close(writing)


async def test_reader_that_is_stuck_does_not_keep_the_gateway_from_ending(start: Start, tmp_path: Path) -> None:
    """Its lines are lost, and that is said; the end is not."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        log = start(pipe, close_timeout=0.01)
        for _ in range(300):  # more than a pipe holds
            log.write(served())
        with capture_logs() as told:
            async with asyncio.timeout(PATIENCE):
                await log.close()
        assert "access log cannot be written" in [entry["event"] for entry in told]
    finally:
        os.close(reader)


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 65536):
            pass
    except BlockingIOError:
        return


async def test_disk_that_is_full_is_told(start: Start) -> None:
    """With how many lines are lost, which count as dropped; and nothing else happens."""
    log = start("/dev/full")
    for _ in range(3):
        log.write(make_exchange())
    with capture_logs() as logs:
        await log.close()
    assert [(entry["event"], entry["lines"]) for entry in logs] == [("access log cannot be written", 3)]
    assert log.dropped == 3


async def test_pipe_without_a_reader_stops_the_start(start: Start, tmp_path: Path) -> None:
    """To open it would wait until there is one, and nothing could end that."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StartError, match="No such device or address"):
        start(tmp_path / "pipe")


async def test_file_that_cannot_be_opened_stops_the_start(start: Start, tmp_path: Path) -> None:
    """With its name and the reason."""
    with pytest.raises(StartError, match="No such file or directory"):
        start(tmp_path / "none" / "log")


async def test_standard_output(
    start: Start, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``-``; it stays open."""
    monkeypatch.setattr("sys.stdout", SimpleNamespace(fileno=lambda: 1))
    log = start("-")
    log.write(make_exchange("GET", "/out"))
    await log.close()
    os.write(1, b"open\n")
    first, second = capfd.readouterr().out.splitlines()
    assert (json.loads(first)["path"], second, log.path) == ("/out", "open", "-")
