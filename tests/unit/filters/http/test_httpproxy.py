"""The plain proxy against scripted endpoints: what is sent, over which connection, and what becomes of an upload."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.errors import DownstreamError, NoEndpoint, UpstreamError, UpstreamReset, UpstreamTimeout
from pixiu_py.filters.http.httpproxy import HttpProxy, HttpProxyConfig
from pixiu_py.http.body import RequestBody
from pixiu_py.http.exchange import Exchange, Request, Response
from pixiu_py.http.headers import Headers
from pixiu_py.http.tunnel import TunnelBody
from tests.fakes import actions
from tests.fakes.actions import respond
from tests.fakes.clusters import cluster_context, endpoint_config, make_cluster
from tests.fakes.exchange import collect, make_exchange
from tests.fakes.peer import PATIENCE, start
from tests.fakes.upstream import Script, Upstream, refusing_port

FINE = respond(200, body=b"fine")


class Case:
    """The proxy, and a cluster of scripted endpoints called a, b, …, that are tried in this order."""

    def __init__(self) -> None:
        self.upstreams: list[Upstream] = []
        self.context = cluster_context(clock=time.monotonic)
        self._stack = AsyncExitStack()

    async def set_up(self, *scripts: Script | int, **config: Any) -> Case:
        ports = [await self._port(script) for script in scripts]
        configs = [endpoint_config("abc"[n], "127.0.0.1", port) for n, port in enumerate(ports)]
        self.cluster = make_cluster(*configs, context=self.context)
        self.proxy = HttpProxy(HttpProxyConfig(**config), self.context)
        return self

    async def _port(self, script: Script | int) -> int:
        if isinstance(script, int):
            return script
        self.upstreams.append(await self._stack.enter_async_context(Upstream(script)))
        return self.upstreams[-1].port

    async def close(self) -> None:
        await self.context.tasks.close()
        await self.proxy.close()
        await self._stack.aclose()

    @property
    def seen(self) -> Any:
        """The only request to the first endpoint."""
        return self.upstreams[0].request

    def endpoint(self, name: str = "a") -> Endpoint:
        found = self.cluster.find(name)
        assert found is not None
        return found

    def own(self, exchange: Exchange) -> Exchange:
        exchange.cluster = self.cluster
        exchange.started = time.monotonic()
        return exchange

    def exchange(self, *args: Any, **options: Any) -> Exchange:
        return self.own(make_exchange(*args, **options))

    def upload(self, length: int | None, method: str = "POST") -> tuple[StreamReader, Exchange]:
        """A request whose body is still to come."""
        protocol = BaseProtocol(asyncio.get_running_loop())
        protocol.transport = asyncio.Transport()
        source = StreamReader(protocol, 2**20, loop=asyncio.get_running_loop())
        request = Request(method, "/up", Headers(), RequestBody(source, length, PATIENCE))
        return source, self.own(Exchange(request, 0.0))

    async def ask(self, exchange: Exchange) -> Response:
        async with asyncio.timeout(PATIENCE):
            return await self.proxy.decode(exchange)

    async def until_no_task(self) -> None:
        """Wait until no upload is under way."""
        async with asyncio.timeout(PATIENCE):
            while len(self.context.tasks):
                await asyncio.sleep(0)

    async def whole(self, exchange: Exchange) -> tuple[int, bytes]:
        """Status and body of a whole exchange."""
        response = await self.ask(exchange)
        async with asyncio.timeout(PATIENCE):
            body = await collect(response.body)
        self.proxy.done(exchange)
        assert exchange.endpoint is None
        return response.status, body


Make = Callable[..., Any]


@pytest_asyncio.fixture
async def case() -> AsyncIterator[Make]:
    made: list[Case] = []

    async def make(*scripts: Script | int, **config: Any) -> Case:
        made.append(Case())
        return await made[-1].set_up(*scripts, **config)

    yield make
    for one in made:
        await one.close()


# --- what is sent ----------------------------------------------------------------------------------------------------


async def test_request_is_passed_on(case: Make) -> None:
    """Method, target, fields and body; and the answer, with its reason."""
    made = await case(respond(201, [(b"X-B", b"2")], b"fine", reason="Made"))
    exchange = made.exchange("PUT", "/a%2Fb?q=1", {"X-A": "1"}, b"body")
    response = await made.ask(exchange)
    assert (response.status, response.reason, response.headers.get("x-b")) == (201, "Made", "2")
    assert await collect(response.body) == b"fine"
    assert (made.seen.method, made.seen.target, made.seen.body, made.seen.header("x-a")) == (
        "PUT",
        "/a%2Fb?q=1",
        b"body",
        b"1",
    )
    assert (exchange.attempts[0].endpoint_id, exchange.attempts[0].status, exchange.attempts[0].success) == (
        "a",
        200 + 1,
        True,
    )


@pytest.mark.parametrize(("method", "length"), [("GET", None), ("DELETE", None), ("POST", b"0"), ("PUT", b"0")])
async def test_length_is_stated_where_it_tells_something(case: Make, method: str, length: bytes | None) -> None:
    """RFC 9110 section 8.6."""
    made = await case(FINE)
    await made.whole(made.exchange(method))
    assert made.seen.header("content-length") == length


@pytest.mark.parametrize("on", [True, False])
async def test_endpoint_is_told_who_asks(case: Make, on: bool) -> None:
    """Behind what other proxies have said."""
    made = await case(FINE, forwarded_headers=on)
    exchange = made.exchange("GET", "/", {"Host": "public.test", "X-Forwarded-For": "192.0.2.9"})
    exchange.request.client_address, exchange.request.scheme = "192.0.2.1", "https"
    await made.whole(exchange)
    told = [b"192.0.2.9", b"192.0.2.1"] if on else [b"192.0.2.9"]
    assert made.seen.values("x-forwarded-for") == told
    assert made.seen.values("x-forwarded-proto") == [b"https"] * on
    assert made.seen.values("x-forwarded-host") == [b"public.test"] * on


async def test_head_request(case: Make) -> None:
    """Its answer has a length and no body, and the connection is kept."""
    made = await case(respond(200, body=b"12345"))
    exchange = made.exchange("HEAD")
    response = await made.ask(exchange)
    assert response.body.length == 5
    response.body.abort()
    assert (await made.ask(made.exchange("HEAD"))).status == 200
    assert made.upstreams[0].accepted == 1


# --- which endpoint ----------------------------------------------------------------------------------------------------


async def test_endpoint_that_cannot_be_reached_is_passed_over(case: Make) -> None:
    """Nothing has been sent, so that another one may be asked."""
    with refusing_port() as port:
        made = await case(port, FINE)
        exchange = made.exchange("POST", "/", body=b"body")
        assert await made.whole(exchange) == (200, b"fine")
    assert [(attempt.endpoint_id, attempt.error) for attempt in exchange.attempts] == [
        ("a", "connect_failed"),
        ("b", ""),
    ]


async def test_endpoint_without_a_free_connection_is_passed_over(case: Make) -> None:
    """Nothing has been sent there either."""
    made = await case([actions.stall()], FINE, maxConnsPerHost=1, max_waiting=0)
    stuck = start(made.ask(made.exchange()))
    await made.upstreams[0].until_requests(1)
    await made.whole(made.exchange())  # the balancer's turn is with b
    exchange = made.exchange()
    assert await made.whole(exchange) == (200, b"fine")
    assert [attempt.error for attempt in exchange.attempts] == ["pool_exhausted", ""]
    stuck.cancel()
    await asyncio.wait((stuck,))


async def test_all_endpoints_out_of_reach(case: Make) -> None:
    """Each is tried once."""
    with refusing_port() as port:
        made = await case(port, port)
        exchange = made.exchange()
        with pytest.raises(UpstreamError):
            await made.ask(exchange)
    assert [attempt.endpoint_id for attempt in exchange.attempts] == ["a", "b"]


@pytest.mark.parametrize(
    ("script", "error"),
    [([actions.close()], UpstreamReset), ([actions.stall()], UpstreamTimeout)],
    ids=["reset", "silence"],
)
async def test_request_that_was_sent_is_not_sent_again(case: Make, script: Script, error: type[Exception]) -> None:
    """The endpoint may have acted on it."""
    made = await case(script, FINE, first_byte_timeout=0.03)
    exchange = made.exchange("POST", "/", body=b"body")
    with pytest.raises(error):
        await made.ask(exchange)
    assert (len(exchange.attempts), made.endpoint().in_flight) == (1, 0)


async def test_errors_of_an_endpoint_are_its_answer(case: Make) -> None:
    """This filter retries nothing."""
    made = await case([respond(503, body=b"busy")], FINE)
    assert await made.whole(made.exchange()) == (503, b"busy")


async def test_cluster_without_endpoints(case: Make) -> None:
    """There is nobody to ask."""
    made = await case()
    with pytest.raises(NoEndpoint):
        await made.ask(made.exchange())


# --- uploads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "framing"), [(200_000, "length"), (None, "chunked")])
async def test_large_body_is_streamed(case: Make, length: int | None, framing: str) -> None:
    """As it comes, framed as it was; the connection is kept afterwards."""
    made = await case(lambda seen: respond(200, body=b"%d" % len(seen.body)))
    source, exchange = made.upload(length)
    asking = start(made.whole(exchange))
    await made.upstreams[0].until_requests(1)
    for _ in range(4):
        source.feed_data(b"x" * 50_000)
        await asyncio.sleep(0)
    source.feed_eof()
    assert await asyncio.wait_for(asking, PATIENCE) == (200, b"200000")
    assert made.seen.framing == framing
    await made.whole(made.exchange())
    assert made.upstreams[0].accepted == 1


async def test_small_body_is_read_first(case: Make) -> None:
    """So that it may go over a kept connection, which may turn out to be closed."""
    made = await case([FINE, actions.close(), FINE])
    for _ in range(2):
        assert await made.whole(made.exchange("POST", "/", body=b"body")) == (200, b"fine")
    assert [request.body for request in made.upstreams[0].requests] == [b"body"] * 3


async def test_large_body_goes_over_a_new_connection(case: Make) -> None:
    """It cannot be sent twice."""
    made = await case([FINE, FINE], replay_limit=3)
    await made.whole(made.exchange())
    await made.whole(made.exchange("POST", "/", body=b"body"))
    assert [request.connection for request in made.upstreams[0].requests] == [1, 2]


async def test_early_answer_ends_the_upload(case: Make) -> None:
    """Nobody reads the rest; the answer arrives whole."""
    made = await case([actions.early(respond(413, body=b"too long"))])
    source, exchange = made.upload(None)
    source.feed_data(b"x")
    assert await made.whole(exchange) == (413, b"too long")
    await made.until_no_task()


async def test_early_answer_that_nobody_wants(case: Make) -> None:
    """Letting go of it ends the upload as well."""
    made = await case([actions.early(respond(413, body=b"too long"))])
    _, exchange = made.upload(None)
    (await made.ask(exchange)).body.abort()
    await made.until_no_task()


async def test_fault_of_the_clients_ends_the_attempt(case: Make) -> None:
    """The endpoint is not to blame, and must not take a part for the whole."""
    made = await case([FINE])
    source, exchange = made.upload(None)
    asking = start(made.ask(exchange))
    await made.upstreams[0].until_requests(1)
    source.feed_data(b"half")
    source.set_exception(ValueError("not a chunk"))
    with pytest.raises(DownstreamError):
        await asyncio.wait_for(asking, PATIENCE)
    await made.upstreams[0].until(lambda upstream: not upstream.open)
    assert not made.seen.complete
    assert (exchange.attempts[0].error, made.endpoint().in_flight) == ("bad_request", 0)


@pytest.mark.parametrize("streamed", [True, False])
async def test_client_that_leaves_leaves_nothing_behind(case: Make, streamed: bool) -> None:
    """No call, no upload, nothing in flight."""
    made = await case([actions.early(actions.stall())])
    exchange = made.upload(None)[1] if streamed else made.exchange()
    asking = start(made.ask(exchange))
    await made.upstreams[0].until_requests(1)
    asking.cancel()
    await asyncio.wait((asking,))
    await made.upstreams[0].until(lambda upstream: not upstream.open)
    assert (exchange.attempts[0].error, made.endpoint().in_flight, len(made.context.tasks)) == ("cancelled", 0, 0)


# --- upgrades ------------------------------------------------------------------------------------------------------------

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


async def test_upgrade_is_passed_on(case: Make) -> None:
    """The answer is a tunnel."""
    made = await case([actions.raw(SWITCH)])
    exchange = made.exchange("GET", "/", {"Sec-WebSocket-Key": "x"})
    exchange.request.upgrade, exchange.connection = "websocket", SimpleNamespace()
    response = await made.ask(exchange)
    assert (response.status, isinstance(response.body, TunnelBody)) == (101, True)
    assert (made.seen.header("upgrade"), made.seen.header("connection")) == (b"websocket", b"Upgrade")
    response.body.abort()


async def test_declined_upgrade_is_an_answer(case: Make) -> None:
    """Like any other."""
    made = await case([respond(426, body=b"no")])
    exchange = made.exchange()
    exchange.request.upgrade, exchange.connection = "websocket", SimpleNamespace()
    assert await made.whole(exchange) == (426, b"no")


async def test_upgrade_that_is_offered_with_a_body_is_not_passed_on(case: Make) -> None:
    """The request counts, the offer may be ignored (RFC 9110 section 7.8)."""
    made = await case([FINE])
    exchange = made.exchange("POST", "/", body=b"body")
    exchange.request.upgrade, exchange.connection = "h2c", SimpleNamespace()
    assert await made.whole(exchange) == (200, b"fine")
    assert (made.seen.body, made.seen.header("upgrade")) == (b"body", None)


# --- time ------------------------------------------------------------------------------------------------------------------


async def test_total_time_is_a_limit(case: Make) -> None:
    """Until the head has come, and for the body."""
    made = await case(
        [actions.stall(), actions.raw(actions.head(200, [(b"Content-Length", b"9")]) + b"half")], timeout=0.05
    )
    exchange = made.exchange()
    with pytest.raises(UpstreamTimeout) as caught:
        await made.ask(exchange)
    assert (caught.value.phase, made.endpoint().in_flight) == ("total", 0)
    response = await made.ask(made.exchange())
    with pytest.raises(UpstreamTimeout):
        await collect(response.body)


async def test_tunnel_has_no_total_time(case: Make) -> None:
    """It ends by its silence, or by one of its ends."""
    made = await case([actions.raw(SWITCH)], timeout=PATIENCE)
    exchange = made.exchange()
    exchange.request.upgrade, exchange.connection = "websocket", SimpleNamespace()
    response = await made.ask(exchange)
    assert isinstance(response.body, TunnelBody)
    response.body.abort()
