"""Plain requests: a chat completion of 1 KB up and 1 KB down over keep-alive connections, at saturation."""

from __future__ import annotations

import uvloop

from benchmarks.bench import Bench, Metric, Result, Values
from benchmarks.conf import Spec
from benchmarks.cpu import cpu_seconds
from benchmarks.load_http import closed_loop, saturate
from benchmarks.proc import BenchError
from benchmarks.servers import Server

TITLE = "Chat completion, 1 KB up and down, 64 connections"
METRICS = (
    Metric("cpu_us", "CPU per request", "µs"),
    Metric("rps", "highest throughput", "req/s", "higher", 0),
    Metric("busy", "core in use at that throughput", "%", "", 0),
)
CONNECTIONS = 64


def run(bench: Bench) -> Result:
    return compare(bench, Result("plain", TITLE, METRICS))


def compare(bench: Bench, result: Result, *, new: bool = False) -> Result:
    """``new``: no head of a request or of an answer comes twice."""
    with bench.upstream(addresses=2, new=int(new)) as upstream, bench.proxies(Spec(upstream.port), result) as servers:
        for server in servers:
            uvloop.run(closed_loop(server.target, CONNECTIONS, bench.pick(1.0, 0.2)))
        bench.interleave(result, servers, lambda server: measure(bench, server, new=new))
    return result


def measure(bench: Bench, server: Server, *, new: bool = False) -> Values:
    """CPU time of the proxy's process tree while ``wrk`` asks as fast as it can."""
    before = cpu_seconds(server.pid)
    load = saturate(server.target, bench.body, bench.pick(4, 1), CONNECTIONS, new=new)
    used = cpu_seconds(server.pid) - before
    if not load.requests:
        raise BenchError(f"no request was answered within {load.seconds:.0f} s")
    return {
        "cpu_us": used / load.requests * 1e6,
        "rps": load.requests / load.seconds,
        "busy": used / load.seconds * 100,
    }
