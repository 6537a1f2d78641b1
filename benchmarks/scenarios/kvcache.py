"""Routing by KV cache: time that the warm ``prefix`` index adds to a chat of 2,000 tokens, and memory of a full index.

The same cluster of eight endpoints is asked in turns through the LLM proxy alone and with ``dgp.filter.ai.kvcache`` before
it. The chat has been sent before, so each request is a hit in all of its chunks. The index is filled in a process of its own.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import orjson
import uvloop

from benchmarks.bench import Bench, Metric, Result, Values
from benchmarks.client import MODEL
from benchmarks.conf import Spec
from benchmarks.cpu import cpu_seconds
from benchmarks.load_http import open_loop, saturate
from benchmarks.proc import BenchError
from benchmarks.scenarios.latency import percentile
from benchmarks.servers import Gateway, Server

TITLE = "Routing a chat of 2,000 tokens by the warm prefix index, over eight endpoints"
METRICS = (
    Metric("plain_p50", "request without it, median, 200 per second", "ms", digits=3),
    Metric("added_p50", "added to a request, median", "ms", digits=3),
    Metric("added_p99", "added to a request, 99th percentile", "ms", "", 3),
    Metric("plain_us", "CPU per request without it", "µs"),
    Metric("added_us", "CPU above that", "µs"),
    Metric("index_mb", "memory of an index with 1,000,000 chunks", "MB"),
)
RATE = 200.0
ENDPOINTS = 8
FILTER = {
    "name": "dgp.filter.ai.kvcache",
    "config": {"enabled": True, "index": {"type": "prefix"}, "load": {"interval": 0}},
}
_FILL = "from benchmarks.kv.memory import main; main()"


@dataclass(frozen=True)
class Way:
    """A gateway in one of two ways. Both have one name: they share the rounds of a table."""

    key: str
    server: Server

    @property
    def name(self) -> str:
        """Name in the tables."""
        return self.server.name


def long_chat() -> bytes:
    """A conversation of about 8,000 bytes, as many as 2,000 tokens have."""
    messages = [{"role": "system", "content": "You are a helpful assistant who knows proxies. " * 60}]
    for turn in range(8):
        role = "assistant" if turn % 2 else "user"
        messages.append({"role": role, "content": f"This is turn {turn} of a long talk about proxies. " * 13})
    messages.append({"role": "user", "content": "And what does that mean?"})
    return orjson.dumps({"model": MODEL, "max_tokens": 256, "messages": messages})


def run(bench: Bench) -> Result:
    result = Result("kvcache", TITLE, METRICS)
    ours = next((contender for contender in bench.contenders if isinstance(contender, Gateway)), None)
    if ours is None:
        raise BenchError("only the gateway routes by cache")
    body = bench.folder / "long-chat.json"
    body.write_bytes(long_chat())
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(bench.upstream(addresses=ENDPOINTS))
        ways = []
        for key, filters in (("plain", ()), ("added", (FILTER,))):
            spec = Spec(upstream.port, endpoints=ENDPOINTS, filters=filters)
            ways.append(Way(key, stack.enter_context(bench.proxy(ours, spec))))
        bench.interleave(result, ways, lambda way: _measure(bench, way, body))
    for values in result.rounds.get(ours.name, []):
        _subtract(values)
    bench.interleave(result, [ours], lambda _: {"index_mb": _filled(bench.pick(1_000_000, 200_000))}, rounds=1)
    return result


def _measure(bench: Bench, way: Way, chat: Path) -> Values:
    body = chat.read_bytes()
    seconds = bench.pick(4, 1)
    uvloop.run(open_loop(way.server.target, RATE, 0.2, body=body))
    latencies = uvloop.run(open_loop(way.server.target, RATE, seconds, body=body))
    before = cpu_seconds(way.server.pid)
    load = saturate(way.server.target, chat, seconds, 16)
    used = cpu_seconds(way.server.pid) - before
    return {
        f"{way.key}_p50": percentile(latencies, 50) * 1000,
        f"{way.key}_p99": percentile(latencies, 99) * 1000,
        f"{way.key}_us": used / max(load.requests, 1) * 1e6,
    }


def _subtract(values: Values) -> None:
    for key in ("p50", "p99", "us"):
        if f"added_{key}" in values and f"plain_{key}" in values:
            values[f"added_{key}"] -= values[f"plain_{key}"]


def _filled(chunks: int) -> float:
    """Megabytes of resident memory that a full index takes, for a million chunks."""
    ended = subprocess.run(
        [sys.executable, "-c", _FILL, str(chunks)], capture_output=True, text=True, timeout=300, check=False
    )
    if ended.returncode:
        raise BenchError(f"the index could not be filled: {ended.stderr[-300:]}")
    return float(ended.stdout) / 1e6 * (1_000_000 / chunks)
