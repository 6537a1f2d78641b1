"""Memory: per idle client, per open stream, what stays after they have gone, and whether it grows with requests."""

from __future__ import annotations

import asyncio
import time

import uvloop

from benchmarks.bench import Bench, Metric, Result, Values
from benchmarks.conf import Spec
from benchmarks.cpu import rss_bytes
from benchmarks.load_hold import idle_clients, open_streams
from benchmarks.load_http import saturate
from benchmarks.servers import Contender, Server

TITLE = "Resident memory"
METRICS = (
    Metric("start", "after the first request", "MB"),
    Metric("idle", "per idle keep-alive client", "KB"),
    Metric("stream", "per open stream", "KB"),
    Metric("after", "more than before, once all have gone", "MB", ""),
    Metric("growth", "growth over 200,000 requests (quick: 20,000), one round", "MB", "", 2),
)
_SLOW_MS = 10_000.0


def run(bench: Bench) -> Result:
    result = Result("memory", TITLE, METRICS)
    with bench.upstream(addresses=2, events=20, pause_ms=_SLOW_MS) as upstream:
        spec = Spec(upstream.port)
        bench.interleave(result, bench.contenders, lambda contender: _bursts(bench, contender, spec))
        bench.interleave(result, bench.contenders, lambda contender: _grown(bench, contender, spec), rounds=1)
    return result


def _bursts(bench: Bench, contender: Contender, spec: Spec) -> Values:
    with bench.proxy(contender, spec) as server:
        return uvloop.run(_hold(server, bench.pick(2000, 250)))


async def _hold(server: Server, count: int) -> Values:
    start = rss_bytes(server.pid)
    async with idle_clients(server.target, count):
        idle = await _settled(server)
    between = await _settled(server)
    async with open_streams(server.target, count):
        streaming = await _settled(server)
    after = await _settled(server)
    return {
        "start": start / 1e6,
        "idle": (idle - start) / count / 1e3,
        "stream": (streaming - between) / count / 1e3,
        "after": (after - start) / 1e6,
    }


async def _settled(server: Server) -> int:
    """Resident memory once it has stopped moving."""
    before = rss_bytes(server.pid)
    for _ in range(10):
        await asyncio.sleep(0.1)
        now = rss_bytes(server.pid)
        if abs(now - before) < 65_536:
            return now
        before = now
    return before


def _grown(bench: Bench, contender: Contender, spec: Spec) -> Values:
    """Gain over many requests, once a tenth as many have warmed it up; nothing for a proxy too slow for that."""
    total = bench.pick(200_000, 20_000)
    with bench.proxy(contender, spec) as server:
        if not _requests(bench, server, total // 10):
            return {}
        before = rss_bytes(server.pid)
        return {"growth": (rss_bytes(server.pid) - before) / 1e6} if _requests(bench, server, total) else {}


def _requests(bench: Bench, server: Server, count: int) -> bool:
    """Send ``count`` requests; False when that takes more than a minute."""
    deadline = time.monotonic() + 60
    while count > 0 and time.monotonic() < deadline:
        count -= saturate(server.target, bench.body, 1, 64).requests
    return count <= 0
