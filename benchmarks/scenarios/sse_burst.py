"""Event streams in step, as one engine with continuous batching sends them: every 5 ms, all 64 streams get a token."""

from __future__ import annotations

from benchmarks.bench import Bench, Result
from benchmarks.scenarios.sse import METRICS, relay

TITLE = "64 event streams in step, events of 190 bytes"


def run(bench: Bench) -> Result:
    return relay(bench, Result("sse_burst", TITLE, METRICS), events=bench.pick(400, 120), pause_ms=5.0, over=0.0)
