"""Event streams whose events come one by one: 64 streams, a token every 64 ms on each, evenly spread over time.

This is the dearest way to receive events, because nearly every one wakes the proxy up; ``sse_burst`` is the cheapest.
CPU time is counted once all streams have begun and until the first one ends, so that it is the events' alone.
"""

from __future__ import annotations

import uvloop

from benchmarks.bench import Bench, Metric, Result, Values
from benchmarks.conf import Spec
from benchmarks.cpu import cpu_seconds
from benchmarks.load_sse import streams
from benchmarks.servers import Server

TITLE = "64 event streams, events of 190 bytes one by one"
METRICS = (
    Metric("cpu_us", "CPU per relayed event", "µs"),
    Metric("reads", "client reads per event (below 1: merged)", "", "", 2),
    Metric("busy", "core in use", "%", "", 1),
)
STREAMS = 64


def run(bench: Bench) -> Result:
    return relay(bench, Result("sse", TITLE, METRICS), events=bench.pick(60, 15), pause_ms=64.0, over=0.064)


def relay(bench: Bench, result: Result, events: int, pause_ms: float, over: float) -> Result:
    """CPU time per event when 64 clients read one stream each per round, begun within ``over`` seconds."""
    with (
        bench.upstream(addresses=2, events=events, pause_ms=pause_ms) as upstream,
        bench.proxies(Spec(upstream.port), result) as servers,
    ):
        bench.interleave(result, servers, lambda server: _measure(server, events, over))
    return result


def _measure(server: Server, events: int, over: float) -> Values:
    load = streams(server.target, STREAMS, events, over=over, read=lambda: cpu_seconds(server.pid))
    seen = uvloop.run(load)
    return {
        "cpu_us": seen.cost / seen.events * 1e6,
        "reads": seen.reads / seen.events,
        "busy": seen.cost / seen.seconds * 100,
    }
