"""Load of plain requests: saturation with ``wrk``; loops of our own, closed for many connections, open for latency."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.client import CHAT_PATH, CLIENT_KEY, Client, Target, chat_request
from benchmarks.proc import BenchError

_SCRIPT = Path(__file__).with_name("post.lua")


@dataclass(frozen=True)
class Saturation:
    """What one run of ``wrk`` saw."""

    requests: int
    seconds: float
    p99: float


def saturate(target: Target, body: Path, seconds: int, connections: int, *, new: bool = False) -> Saturation:
    """POST ``body`` as fast as ``connections`` keep-alive connections can. Raises ``BenchError`` if any request failed.

    ``new``: each request has an id of its own in its head, so that no head comes twice.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise BenchError("wrk is not installed (Debian: apt-get install wrk)")
    command = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "-s", str(_SCRIPT)]
    for header in (f"Authorization: Bearer {CLIENT_KEY}", *target.headers):
        command += ["-H", header]
    command += [f"http://127.0.0.1:{target.port}{CHAT_PATH}", "--", str(body), *(["new"] if new else [])]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    line = ended.stdout.strip().rpartition("\n")[2]
    if ended.returncode or not line.startswith("{"):
        raise BenchError(f"wrk failed: {ended.stdout}{ended.stderr}")
    seen = json.loads(line)
    if seen["failed"]:
        raise BenchError(f"{seen['failed']} of {seen['requests']} requests failed")
    return Saturation(seen["requests"], seen["microseconds"] / 1e6, seen["p99_us"] / 1e6)


async def closed_loop(
    target: Target,
    connections: int,
    seconds: float,
    read: Callable[[], Sequence[float]] = tuple,
    *,
    busy: int = 0,
    before: int = 1,
) -> list[float]:
    """How much each figure of ``read()`` goes up per request, with ``busy`` requests always under way, or one per connection.

    Unlike ``wrk``, it opens all connections and has each of them answered ``before`` times before it begins to count. Each
    request takes the connection that has been idle for longest.
    """
    request = chat_request(target)
    clients = [await Client.connect(target) for _ in range(connections)]
    try:
        async with asyncio.timeout(60 + seconds):
            for _ in range(before):
                await asyncio.gather(*(client.send(request) for client in clients))
            began, deadline = read(), time.monotonic() + seconds
            idle = deque(clients)
            asking = [_ask_until(idle, request, deadline) for _ in range(busy or connections)]
            counts = await asyncio.gather(*asking)
            return [(now - then) / sum(counts) for then, now in zip(began, read(), strict=True)]
    finally:
        for client in clients:
            client.close()


async def _ask_until(idle: deque[Client], request: bytes, deadline: float) -> int:
    count = 0
    while time.monotonic() < deadline:
        client = idle.popleft()
        await client.send(request)
        idle.append(client)
        count += 1
    return count


async def open_loop(
    target: Target, rate: float, seconds: float, connections: int = 64, body: bytes = b""
) -> list[float]:
    """Seconds that requests took which are sent ``rate`` times a second, whether or not earlier ones were answered.

    A request that finds every connection busy waits for one, and its latency counts from the moment it was due, so a
    proxy that stalls cannot hide it (coordinated omission).
    """
    clients = [await Client.connect(target) for _ in range(connections)]
    try:
        return await _OpenLoop(clients, chat_request(target, body=body)).run(rate, seconds)
    finally:
        for client in clients:
            client.close()


class _OpenLoop:
    def __init__(self, clients: list[Client], request: bytes) -> None:
        self._idle = deque(clients)
        self._request = request
        self._due: deque[float] = deque()
        self._latencies: list[float] = []
        self._failure: BaseException | None = None

    async def run(self, rate: float, seconds: float) -> list[float]:
        begun = time.monotonic()
        total, issued = int(rate * seconds), 0
        while len(self._latencies) < total and self._failure is None:
            now = time.monotonic()
            if now - begun > seconds + 10:
                raise BenchError(f"{total - len(self._latencies)} of {total} requests were not answered in time")
            while issued < total and issued < (now - begun) * rate:
                self._due.append(now)
                issued += 1
            self._issue()
            await asyncio.sleep(0.001)
        if self._failure is not None:
            raise self._failure
        return self._latencies

    def _issue(self) -> None:
        while self._due and self._idle:
            client, due = self._idle.popleft(), self._due.popleft()
            client.send(self._request).add_done_callback(partial(self._answered, client, due))

    def _answered(self, client: Client, due: float, done: asyncio.Future[None]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._failure = done.exception() or BenchError("cancelled")
            return
        self._latencies.append(time.monotonic() - due)
        self._idle.append(client)
        self._issue()
