"""Time that a proxy adds: to a plain request, to the first event of a stream, and to every later event.

Each round asks the upstream directly as well, and what is reported is the difference to that.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import uvloop

from benchmarks.bench import Bench, Metric, Result, Values
from benchmarks.conf import Spec
from benchmarks.load_http import open_loop
from benchmarks.load_sse import streams
from benchmarks.servers import Server

TITLE = "Added latency: 1,000 requests per second, and 1,000 events per second on 64 streams"
METRICS = (
    Metric("p50", "added to a request, median", "ms", digits=3),
    Metric("p99", "added to a request, 99th percentile", "ms", digits=3),
    Metric("first", "added to the first event, median", "ms", digits=3),
    Metric("event_p50", "added to an event, median", "ms", digits=3),
    Metric("event_p99", "added to an event, 99th percentile", "ms", digits=3),
    Metric("total_p50", "request in all, median", "ms", "", 3),
    Metric("total_p99", "request in all, 99th percentile", "ms", "", 3),
)
RATE = 1000
STREAMS = 64
PAUSE_MS = 64.0


def run(bench: Bench) -> Result:
    result = Result("latency", TITLE, METRICS)
    events = bench.pick(60, 12)
    with (
        bench.upstream(addresses=2, events=events, pause_ms=PAUSE_MS) as upstream,
        bench.proxies(Spec(upstream.port), result) as servers,
    ):
        bench.interleave(result, [upstream, *servers], lambda server: _measure(server, bench.pick(5, 1), events))
    _subtract(result, upstream.name)
    return result


def _measure(server: Server, seconds: float, events: int) -> Values:
    requests = uvloop.run(open_loop(server.target, RATE, seconds))
    seen = uvloop.run(streams(server.target, STREAMS, events, over=PAUSE_MS / 1000, timed=True))
    return {
        "total_p50": percentile(requests, 50) * 1000,
        "total_p99": percentile(requests, 99) * 1000,
        "first": percentile(seen.first_event, 50) * 1000,
        "event_p50": percentile(seen.travel, 50) * 1000,
        "event_p99": percentile(seen.travel, 99) * 1000,
    }


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that ``percent`` of ``values`` do not exceed."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _subtract(result: Result, base: str) -> None:
    """Turn times into what was added to those of ``base`` in the same round."""
    direct = [dict(values) for values in result.rounds.get(base, [])]
    for rounds in result.rounds.values():
        for values, without in zip(rounds, direct, strict=False):
            values["p50"] = values["total_p50"] - without["total_p50"]
            values["p99"] = values["total_p99"] - without["total_p99"]
            for key in ("first", "event_p50", "event_p99"):
                values[key] -= without[key]
