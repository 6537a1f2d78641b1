"""Rules of the metrics port: one page, to be read only; each worker finds a port of its own."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from pixiu_py.config.model import Metric
from pixiu_py.errors import StartError
from pixiu_py.listeners import metrics
from pixiu_py.listeners.metrics import MetricsListener
from tests.fakes.client import Client
from tests.fakes.exchange import make_context


def listener_at(port: int = 0) -> MetricsListener:
    """A listener with one counter to show."""
    context = make_context()
    context.metrics.counter("seen_total", "Seen.").inc()
    return MetricsListener(Metric(enable=True, prometheus_port=port), context)


@pytest_asyncio.fixture
async def listener() -> AsyncIterator[MetricsListener]:
    """A started one."""
    made = listener_at()
    await made.start()
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/metrics", 200),
        ("GET", "/metrics?name=x", 200),
        ("GET", "http://gateway.test/metrics", 200),
        ("HEAD", "/metrics", 200),
        ("GET", "/", 404),
        ("GET", "/metrics/", 404),
        ("POST", "/metrics", 405),
    ],
)
async def test_one_page_and_only_to_be_read(listener: MetricsListener, method: str, target: str, status: int) -> None:
    async with Client(listener.address[1]) as client:
        assert (await client.request(method, target)).status == status


async def test_the_page_is_prometheus_text_over_a_kept_connection(listener: MetricsListener) -> None:
    async with Client(listener.address[1]) as client:
        first = await client.request("GET", "/metrics")
        second = await client.request("GET", "/metrics", {"Connection": "close"})
        await client.wait_closed_by_peer()
    assert first.header("content-type") == b"text/plain; version=0.0.4; charset=utf-8"
    assert first.body == second.body == b"# HELP seen_total Seen.\n# TYPE seen_total counter\nseen_total 1\n"


async def test_it_listens_on_loopback_unless_told_otherwise(listener: MetricsListener) -> None:
    assert listener.address[0] == "127.0.0.1"


async def test_a_reader_that_fails_is_a_500_and_logged(listener: MetricsListener) -> None:
    """And the connection goes on."""
    listener.context.metrics.reading("bad", "Bad.").add(lambda: [((), 1 / 0)])
    with capture_logs() as logs:
        async with Client(listener.address[1]) as client:
            assert [(await client.request("GET", "/metrics")).status for _ in range(2)] == [500, 500]
    assert [entry["event"] for entry in logs] == ["metrics cannot be read"] * 2


async def test_a_taken_port_is_an_error_for_one_process(listener: MetricsListener) -> None:
    with pytest.raises(StartError, match=r"metrics: cannot listen on 127\.0\.0\.1"):
        await listener_at(listener.address[1]).start()


async def test_a_worker_takes_the_next_free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to a limit."""
    monkeypatch.setattr(metrics, "MAX_PORTS", 1)
    with two_ports() as (first, second):
        second.close()
        port = first.getsockname()[1]
        worker = listener_at(port)
        await worker.start(reuse_port=True)
        assert worker.address[1] == port + 1
        with pytest.raises(StartError, match=f"{port + 1}"):
            await listener_at(port).start(reuse_port=True)
        await worker.close()


class two_ports:  # noqa: N801 - reads as a function
    """Two neighbouring ports of this machine, taken."""

    def __enter__(self) -> tuple[socket.socket, socket.socket]:
        while True:
            self.first, self.second = socket.socket(), socket.socket()
            self.first.bind(("127.0.0.1", 0))
            self.first.listen()
            try:
                self.second.bind(("127.0.0.1", self.first.getsockname()[1] + 1))
            except (OSError, OverflowError):
                self.first.close()
                self.second.close()
            else:
                return self.first, self.second

    def __exit__(self, *_: object) -> None:
        self.first.close()
        self.second.close()
