"""Start: from exec to the first answer, and the memory of a process that has just given it."""

from __future__ import annotations

import time

from benchmarks.bench import Bench, Metric, Result, Values
from benchmarks.conf import Spec
from benchmarks.cpu import cpu_seconds, rss_bytes
from benchmarks.servers import Contender

TITLE = "Start"
METRICS = (
    Metric("ms", "from exec to the first answer", "ms", digits=0),
    Metric("cpu_ms", "CPU until then", "ms", digits=0),
    Metric("rss", "resident memory then", "MB"),
)


def run(bench: Bench) -> Result:
    result = Result("start", TITLE, METRICS)
    with bench.upstream(addresses=2) as upstream:
        spec = Spec(upstream.port)
        bench.interleave(result, bench.contenders, lambda contender: _measure(bench, contender, spec))
    return result


def _measure(bench: Bench, contender: Contender, spec: Spec) -> Values:
    with bench.proxy(contender, spec, wait=False) as server:
        server.process.wait_until(lambda: server.answers(), seconds=60, pause=0.002)
        ready = time.monotonic()
        return {
            "ms": (ready - server.process.started) * 1e3,
            "cpu_ms": cpu_seconds(server.pid) * 1e3,
            "rss": rss_bytes(server.pid) / 1e6,
        }
