"""One worker's line: it tells and hears, it is told when it is on duty, and goes on by itself when the hub is gone."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from pixiu_py.clusters.agreement import Cooling, Duty, Notice, Started, decode, encode
from pixiu_py.clusters.cluster import Cluster
from pixiu_py.peers import MOST_BYTES, Peers
from tests.fakes.clusters import endpoint_config, make_cluster

KEY = ("main", "a", "10.0.0.1:80", "")


class Line:
    """The peers of a worker with one cluster, and the hub's end of the line."""

    def __init__(self) -> None:
        self.hub, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.hub.setblocking(False)
        self.peers = Peers(ours, lambda: 0.0)
        self.cluster: Cluster = make_cluster(endpoint_config("a", health_check_interval=1000))
        self.peers.agreement.join(self.cluster)
        self.cooldown = self.cluster.endpoints[0].cooldown
        self.peers.start()

    async def told(self) -> Notice:
        return decode(await asyncio.get_running_loop().sock_recv(self.hub, MOST_BYTES))


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    line = Line()
    yield line
    await line.peers.close()
    line.hub.close()


async def until(condition: object) -> None:
    """Turn the loop until it is so: what the socket brings has no event of its own."""
    async with asyncio.timeout(5):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0)


async def test_tells_and_hears(line: Line) -> None:
    line.cooldown.failed(1.0, "reset")
    assert await line.told() == Cooling(KEY, 2.0, 0.0, 0.0, "reset")
    line.hub.send(encode(Cooling(KEY, 0.0, 0.0, 0.0, "")))
    await until(lambda: line.cooldown.untroubled)


async def test_is_told_when_it_is_on_duty(line: Line) -> None:
    assert not line.peers.on_duty.is_set()
    line.hub.send(encode(Duty()))
    async with asyncio.timeout(5):
        await line.peers.on_duty.wait()


async def test_tells_that_it_serves(line: Line) -> None:
    line.peers.started()
    assert await line.told() == Started()


async def test_full_line_keeps_the_latest(line: Line) -> None:
    """A hub that does not read costs a bounded amount of memory, and hears the last word once it reads."""
    for number in range(5000):
        line.cooldown.failed(float(number), "x" * 200)
    assert len(line.peers._waiting) == 1
    last = None
    while last is None or last.until < 5000.0:
        last = await line.told()
        assert isinstance(last, Cooling)
    assert not len(line.peers._waiting)


async def test_notice_that_is_too_long_is_left_out(line: Line) -> None:
    """It must not block those that come after it."""
    line.cooldown.failed(1.0, "x" * 2**20)
    line.cooldown.failed(2.0, "reset")
    assert await line.told() == Cooling(KEY, 3.0, 0.0, 0.0, "reset")


async def test_lost_hub_is_logged_once_and_the_worker_is_on_its_own(line: Line) -> None:
    """It checks health itself, and its cooldowns go on."""
    with capture_logs() as logs:
        line.hub.close()
        async with asyncio.timeout(5):
            await line.peers.on_duty.wait()
        line.cooldown.failed(1.0)
        line.cooldown.succeeded(1.0)
        await asyncio.sleep(0)
    assert [log["event"] for log in logs if log["log_level"] == "warning"] == ["the supervisor is gone"]
    assert line.cooldown.untroubled
