"""Rule: nothing is left of a request, however it ended: no task, no connection in use, no place taken, no object."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
from collections import Counter
from collections.abc import Iterator

from tests.conftest import StartGateway
from tests.fakes import actions, bodies
from tests.fakes.bodies import chat, error
from tests.fakes.client import PATIENCE, Client, chat_body, request
from tests.fakes.conf import Block, conf, endpoint, http_filter
from tests.fakes.gateway import RunningGateway
from tests.fakes.upstream import Action, Request, Upstream, refusing_port

REQUESTS = 2000
CLIENTS = 20
#: Connections that a proxy may keep to an endpoint.
KEPT = 10
LIMITS = {"first_byte_timeout": "50ms", "idle_timeout": "50ms", "connect_timeout": "1s", "maxIdleConnsPerHost": KEPT}

#: What endpoints do; some of it only once for a request, so that a retry helps.
ANSWERS: list[Action] = [
    chat("a"),
    chat("a"),
    bodies.chat_sse("a"),
    bodies.chat_sse("a", words=50),
    error(400),
    error(401),
    error(429),
    error(500),
    actions.close(),
    actions.reset(),
    actions.close(b"HTTP/1.1 200 OK\r\nConte"),
    actions.close(b"nonsense\r\n\r\n"),
    actions.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", then="reset"),
    actions.stall(),
    actions.stream(bodies.chat_events("a")[:2], then="hold"),
    actions.early(error(503)),
    bodies.cut_sse("a"),
    bodies.unfinished_sse("a"),
    bodies.error_sse(),
]


class Moody:
    """An endpoint that does this or that."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def __call__(self, seen: Request) -> Action:
        """Whatever comes to its mind."""
        return self._rng.choice(ANSWERS)


def configuration(first: Upstream, second: Upstream, dead: int) -> str:
    """Both proxies before the same endpoints, of which one is dead; filters that keep something for each request."""
    blocks: list[Block] = [endpoint(where, fallback=True, retry=1) for where in (first, dead, second)]
    watching = [
        http_filter("dgp.filter.http.cors", allow_origin=["*"]),
        http_filter("dgp.filter.http.metric"),
        http_filter("dgp.filter.llm.tokenizer"),
    ]
    llm = [*watching, http_filter("dgp.filter.llm.proxy", heartbeat="20ms", max_body_size=1000, **LIMITS)]
    plain = [*watching, http_filter("dgp.filter.http.httpproxy", replay_limit=10, **LIMITS)]
    routes: list[Block] = [
        {"match": {"prefix": "/v1"}, "route": {"cluster": "main"}},
        {"match": {"prefix": "/plain"}, "route": {"cluster": "main"}, "http_filters": plain},
    ]
    return conf(*blocks, filters=llm, routes=routes, top={"metric": {"enable": True, "prometheus_port": 0}})


async def ask_and_wait(client: Client, path: str, body: bytes) -> None:
    """The usual way."""
    await client.send(request("POST", path, body=body))
    await client.read_response()


async def ask_in_chunks(client: Client, path: str, body: bytes) -> None:
    """The body comes bit by bit."""
    await client.send(request("POST", path, {"Transfer-Encoding": "chunked"}))
    await client.send(b"%x\r\n%b\r\n" % (len(body), body))
    await client.send(b"0\r\n\r\n")
    await client.read_response()


async def ask_and_leave(client: Client, path: str, body: bytes) -> None:
    """Gone before the answer."""
    await client.send(request("POST", path, body=body))
    client.abort()


async def leave_half_way(client: Client, path: str, body: bytes) -> None:
    """Gone after the head."""
    await client.send(request("POST", path, body=body))
    await client.read_head()
    client.abort()


async def break_off(client: Client, path: str, body: bytes) -> None:
    """Gone before the whole body has been sent."""
    await client.send(request("POST", path, {"Content-Length": "99999"}, body))
    client.abort()


async def talk_nonsense(client: Client, path: str, body: bytes) -> None:
    """The chunks are none."""
    await client.send(request("POST", path, {"Transfer-Encoding": "chunked"}) + b"zz\r\n")
    await client.read_response()


async def send_too_much(client: Client, path: str, body: bytes) -> None:
    """More than the LLM proxy keeps."""
    await client.send(request("POST", path, body=bytes(2000)))
    await client.read_response()


#: What each kept connection has one of.
PER_CONNECTION = ("UpstreamConnection", "Deadline", "ResponseMemory")
WAYS = [ask_and_wait] * 4 + [ask_in_chunks, ask_and_leave, leave_half_way, break_off, talk_nonsense, send_too_much]


async def use(running: RunningGateway, numbers: Iterator[int]) -> None:
    """One client: takes the next number, and a connection of its own, until there is none left."""
    for number in numbers:
        rng = random.Random(number)
        path = rng.choice(["/v1/chat/completions", "/v1/messages", "/plain/x", "/nowhere"])
        async with running.client() as client:
            with contextlib.suppress(ConnectionError, EOFError):  # an answer may break off
                await rng.choice(WAYS)(client, path, chat_body(stream=rng.random() < 0.5))


async def run(running: RunningGateway, count: int) -> None:
    """So many requests by all clients together."""
    numbers = iter(range(count))
    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(use(running, numbers))


async def numbers_of(running: RunningGateway) -> dict[str, float]:
    """The metrics that say what is under way, each added up over its labels."""
    async with Client(running.ports["metrics"]) as client:
        page = (await client.request("GET", "/metrics")).body.decode()
    sums = dict.fromkeys(("pixiu_py_endpoint_in_flight", "pixiu_py_pool_size", "pixiu_py_connections"), 0.0)
    for line in page.splitlines():
        series, _, value = line.rpartition(" ")
        name = series.partition("{")[0]
        kept = name == "pixiu_py_pool_size" and 'state="idle"' in series
        if name in sums and not kept and 'listener="metrics"' not in series:
            sums[name] += float(value)
    assert all(f"{name}{{" in page for name in sums), page
    return sums


def tasks() -> int:
    """How many tasks there are, without those of the endpoints of this test."""
    return sum(not task.get_name().startswith("upstream connection") for task in asyncio.all_tasks())


def alive() -> Counter[str]:
    """How many objects of our own classes there are, by class."""
    gc.collect()
    kinds = (type(thing) for thing in gc.get_objects())
    return Counter(kind.__qualname__ for kind in kinds if str(kind.__module__).startswith("pixiu_py."))


async def settle(running: RunningGateway, before: int) -> None:
    """Wait until the gateway has seen the end of everything."""
    async with asyncio.timeout(PATIENCE):
        while tasks() > before or any((await numbers_of(running)).values()):
            await asyncio.sleep(0.02)  # the end of the last connection has no event


async def test_nothing_is_left_after_thousands_of_requests(gateway: StartGateway) -> None:
    """Of every kind, by either proxy, with every failure, from clients with and without manners."""
    with refusing_port() as dead:
        async with Upstream(Moody(1)) as first, Upstream(Moody(2)) as second:
            running = await gateway(configuration(first, second, dead))
            idle = tasks()
            await run(running, REQUESTS // 10)
            await settle(running, idle)
            before = alive()
            await run(running, REQUESTS)
            await settle(running, idle)
            kept = 2 * 2 * KEPT  # by two proxies to two endpoints
            assert first.open + second.open <= kept
            after = {kind: count - kept * kind.startswith(PER_CONNECTION) for kind, count in alive().items()}
            assert {kind: (before[kind], count) for kind, count in after.items() if count > before[kind] + 5} == {}
    assert min(len(first.requests), len(second.requests)) > REQUESTS // 4
    ends = {line["end"] for line in running.log_lines()}
    assert {"complete", "client_gone", "reset", "body_too_large", "no_route"} <= ends
