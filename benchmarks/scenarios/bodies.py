"""Large bodies, streamed through a plain HTTP proxy: bytes per CPU second up and down, and the memory that took."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.bench import Bench, Metric, Result, Values
from benchmarks.client import Target
from benchmarks.conf import Spec
from benchmarks.cpu import cpu_seconds, peak_rss_bytes
from benchmarks.load_body import download, upload
from benchmarks.servers import Contender, Server

TITLE = "Bodies of 1 GiB (quick: 256 MiB), streamed"
METRICS = (
    Metric("up", "upload, per second of CPU", "MB", "higher", 0),
    Metric("down", "download, per second of CPU", "MB", "higher", 0),
    Metric("peak", "largest resident memory", "MB"),
)


def run(bench: Bench) -> Result:
    result = Result("bodies", TITLE, METRICS)
    size = bench.pick(2**30, 2**28)
    with bench.upstream(addresses=2, download=size) as upstream:
        spec = Spec(upstream.port, kind="http")
        bench.interleave(result, bench.contenders, lambda contender: _measure(bench, contender, spec, size))
    return result


def _measure(bench: Bench, contender: Contender, spec: Spec, size: int) -> Values:
    with bench.proxy(contender, spec) as server:
        up, down = (_bytes_per_cpu_second(server, transfer, size) for transfer in (upload, download))
        return {"up": up / 1e6, "down": down / 1e6, "peak": peak_rss_bytes(server.pid) / 1e6}


def _bytes_per_cpu_second(server: Server, transfer: Callable[[Target, int], None], size: int) -> float:
    before = cpu_seconds(server.pid)
    transfer(server.target, size)
    return size / (cpu_seconds(server.pid) - before)
