"""Two workers against one: does a request still cost the same, and do both get their share of the connections?

On a machine with two cores upstream and load have to share them with the second worker, so that the throughput of two
workers says little there, and their cost holds what the load does to the caches. So two workers are measured in the one's
place as well, on its core with the load beside them: what a request costs more there is the second worker's doing.
"""

from __future__ import annotations

from dataclasses import dataclass

import uvloop

from benchmarks.bench import Bench, Metric, Result, Values
from benchmarks.conf import Spec
from benchmarks.cpu import connections_to
from benchmarks.load_hold import idle_clients
from benchmarks.load_http import saturate
from benchmarks.scenarios.plain import CONNECTIONS, measure
from benchmarks.servers import Server

TITLE = "Two workers"
METRICS = (
    Metric("cpu_1", "CPU per request, one worker", "µs"),
    Metric("cpu_2_in_place", "CPU per request, two workers on the one's core", "µs"),
    Metric("cpu_2", "CPU per request, two workers", "µs"),
    Metric("rps_1", "throughput, one worker", "req/s", "higher", 0),
    Metric("rps_2", "throughput, two workers", "req/s", "higher", 0),
    Metric("spread", "200 connections: the emptier worker's, of an even share", "%", "higher", 0),
)
WORKERS = 2


@dataclass(frozen=True)
class Subject:
    """A proxy and with how many workers it was started."""

    server: Server
    workers: int
    #: True for several workers where one would be: on the proxy's core only.
    in_place: bool = False

    @property
    def name(self) -> str:
        return self.server.name


def run(bench: Bench) -> Result:
    result = Result("workers", TITLE, METRICS)
    both = bench.cores.proxy | bench.cores.load
    contenders = bench.pick(bench.contenders, bench.contenders[:1])
    with (
        bench.upstream(addresses=2) as upstream,
        bench.proxies(Spec(upstream.port), result, contenders=contenders) as single,
        bench.proxies(Spec(upstream.port, workers=WORKERS), result, contenders=contenders) as in_place,
        bench.proxies(Spec(upstream.port, workers=WORKERS), result, both, contenders) as double,
    ):
        subjects = [
            *(Subject(server, 1) for server in single),
            *(Subject(server, WORKERS, in_place=True) for server in in_place),
            *(Subject(server, WORKERS) for server in double),
        ]
        for subject in bench.pick(subjects, []):
            saturate(subject.server.target, bench.body, 1, CONNECTIONS)
        bench.interleave(result, subjects, lambda subject: _measure(bench, subject))
    return result


def _measure(bench: Bench, subject: Subject) -> Values:
    values = measure(bench, subject.server)
    if subject.in_place:
        return {"cpu_2_in_place": values["cpu_us"]}
    found = {f"cpu_{subject.workers}": values["cpu_us"], f"rps_{subject.workers}": values["rps"]}
    # Go's workers are threads of one process, which share every connection.
    if subject.workers == WORKERS and subject.name != "go":
        found["spread"] = uvloop.run(_spread(subject.server))
    return found


async def _spread(server: Server) -> float:
    """Connections of the emptier worker in percent of an even share."""
    async with idle_clients(server.target, 200):
        held = connections_to(server.port, server.pid)
    emptier = min(held.values()) if len(held) == WORKERS else 0
    return emptier / (sum(held.values()) / WORKERS) * 100
