"""Growth: what a request costs with many routes, many endpoints, many connections, against few of them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import uvloop

from benchmarks.bench import Bench, Metric, Result, Values
from benchmarks.conf import Spec
from benchmarks.cpu import cpu_seconds, kernel_seconds
from benchmarks.load_http import closed_loop
from benchmarks.servers import Server


@dataclass(frozen=True)
class Case:
    """One of the things that may grow, at one size."""

    key: str
    title: str
    routes: int = 1
    endpoints: int = 2
    connections: int = 64
    #: Requests under way at any time; 0: one per connection.
    busy: int = 0

    @property
    def before(self) -> int:
        """Requests per connection before it counts: every endpoint is to have been asked, so that opening does not count."""
        return 2 + self.endpoints // self.connections


CASES = (
    Case("base", "1 route, 2 endpoints, 64 connections"),
    Case("routes_10", "10 routes", routes=10),
    Case("routes_10000", "10,000 routes", routes=10_000),
    Case("endpoints_1000", "1,000 endpoints", endpoints=1000),
    Case("connections_10", "10 connections", connections=10),
    Case("connections_2000", "2,000 connections, all busy", connections=2000),
    Case("connections_2000_busy_64", "2,000 connections, 64 busy", connections=2000, busy=64),
)
TITLE = "CPU per request as things grow in number"
METRICS = tuple(
    metric
    for case in CASES
    for metric in (Metric(case.key, case.title, "µs"), Metric(f"{case.key}_kernel", "of that in the kernel", "µs", ""))
)


@dataclass(frozen=True)
class Subject:
    """A proxy that was started for one case."""

    server: Server
    case: Case

    @property
    def name(self) -> str:
        return self.server.name


def run(bench: Bench) -> Result:
    result = Result("growth", TITLE, METRICS)
    contenders = bench.pick(bench.contenders, bench.contenders[:1])
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(bench.upstream(addresses=max(case.endpoints for case in CASES)))
        subjects = []
        for case in CASES:
            spec = Spec(upstream.port, routes=case.routes, endpoints=case.endpoints)
            servers = stack.enter_context(bench.proxies(spec, result, contenders=contenders))
            # A ReverseProxy has no route table.
            subjects += [Subject(server, case) for server in servers if server.name != "go" or case.routes == 1]
        bench.interleave(result, subjects, lambda subject: _measure(bench, subject))
    return result


def _measure(bench: Bench, subject: Subject) -> Values:
    server, case = subject.server, subject.case
    load = closed_loop(
        server.target,
        case.connections,
        bench.pick(2.0, 0.5),
        lambda: (cpu_seconds(server.pid), kernel_seconds(server.pid)),
        busy=case.busy,
        before=case.before,
    )
    total, kernel = uvloop.run(load)
    return {case.key: total * 1e6, f"{case.key}_kernel": kernel * 1e6}
