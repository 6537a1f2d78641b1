"""A conversation on its pinned model: CPU per request above the plain proxy, and round trips to Redis.

The same cluster is asked three times: by the LLM proxy alone, with a router before it that keeps sessions in memory, and
with one that keeps them in Redis. Every request belongs to one session, so none is decided; the pinned model is not the one
that requests name, so its name is put into each.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import uvloop

from benchmarks.bench import Bench, Metric, Result, Values
from benchmarks.client import MODEL, Target
from benchmarks.conf import Spec
from benchmarks.cpu import cpu_seconds
from benchmarks.load_http import closed_loop, saturate
from benchmarks.proc import BenchError, Process, free_port
from benchmarks.servers import Gateway, Server

TITLE = "Chat completion in a pinned session, 1 KB up and down, 64 connections"
METRICS = (
    Metric("plain_us", "CPU per request, no session", "µs"),
    Metric("memory_us", "above that, sessions in memory", "µs"),
    Metric("redis_us", "above that, sessions in Redis", "µs"),
    Metric("round_trips", "commands to Redis per request", "", digits=3),
)
CONNECTIONS = 64
PINNED = "pinned-model"
HEADER = "X-Model-Affinity: conversation-1"


@dataclass(frozen=True)
class Way:
    """A gateway in one of the three ways. All have one name: they share the rounds of a table."""

    key: str
    server: Server
    redis: int = 0

    @property
    def name(self) -> str:
        """Name in the tables."""
        return self.server.name


def run(bench: Bench) -> Result:
    result = Result("sessions", TITLE, METRICS)
    ours = next((contender for contender in bench.contenders if isinstance(contender, Gateway)), None)
    if ours is None:
        raise BenchError("only the gateway keeps sessions")
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(bench.upstream(addresses=2))
        ways = []
        for key, cache, port in (("plain", None, 0), ("memory", {}, 0), ("redis", *stack.enter_context(_redis(bench)))):
            if key == "redis" and not port:
                continue
            filters = () if cache is None else (router(cache),)
            spec = Spec(upstream.port, filters=filters, models=(MODEL, PINNED))
            server = stack.enter_context(bench.proxy(ours, spec))
            target = Target(server.port, () if cache is None else (HEADER,))
            ways.append(Way(key, replace(server, target=target), port))
        for way in ways:
            uvloop.run(closed_loop(way.server.target, CONNECTIONS, bench.pick(1.0, 0.2)))
        bench.interleave(result, ways, lambda way: _measure(bench, way))
    for values in result.rounds.get(ours.name, []):
        for key in ("memory_us", "redis_us"):
            if key in values and "plain_us" in values:
                values[key] -= values["plain_us"]
    return result


def router(cache: dict[str, Any]) -> dict[str, Any]:
    """The router's block. The benchmark's requests are about proxies."""
    preference = {"name": "proxies", "description": "questions about proxies", "models": [PINNED]}
    rules = [{"route": "proxies", "keywords": ["proxy"]}]
    config = {
        "routing_preferences": [preference],
        "deciders": [{"type": "rules", "rules": rules}],
        "routing": {"session_ttl_seconds": 3600, "session_cache": cache},
    }
    return {"name": "dgp.filter.llm.router", "config": config}


def _measure(bench: Bench, way: Way) -> Values:
    commands = _commands(way.redis)
    before = cpu_seconds(way.server.pid)
    load = saturate(way.server.target, bench.body, bench.pick(4, 1), CONNECTIONS)
    used = cpu_seconds(way.server.pid) - before
    if not load.requests:
        raise BenchError(f"no request was answered within {load.seconds:.0f} s")
    values = {f"{way.key}_us": used / load.requests * 1e6}
    if way.redis:
        values["round_trips"] = (_commands(way.redis) - commands) / load.requests
    return values


@contextlib.contextmanager
def _redis(bench: Bench) -> Iterator[tuple[dict[str, Any], int]]:
    """A Redis on the load's cores: the block of a store there and its port; port 0 when it is not installed."""
    program = shutil.which("redis-server")
    if program is None:
        yield {}, 0
        return
    port = free_port()
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(bench.folder)]
    with Process(command, bench.folder / "redis.log", bench.cores.load) as process:
        process.wait_until(lambda: _commands(port, missing=-1) >= 0)
        yield {"type": "redis", "url": f"redis://127.0.0.1:{port}"}, port


def _commands(port: int, missing: int = 0) -> int:
    """Commands about sessions that the Redis on this port has carried out so far."""
    if not port:
        return missing
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as connection, connection.makefile("rwb") as stream:
            stream.write(b"INFO commandstats\r\n")
            stream.flush()
            length = int(stream.readline()[1:])
            text = stream.read(length).decode()
    except OSError:
        return missing
    counted = ("cmdstat_get:", "cmdstat_mget:", "cmdstat_set:", "cmdstat_evalsha:")
    lines = [line for line in text.splitlines() if line.startswith(counted)]
    return sum(int(line.partition("calls=")[2].partition(",")[0]) for line in lines)
