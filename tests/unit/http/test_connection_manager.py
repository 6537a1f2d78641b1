"""The way of one request: route, decode, encode, write, done; and that each fault ends in an answer or in a visible break."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from pixiu_py.config.model import (
    HeaderMatch,
    HttpConnectionManagerConfig,
    HttpServerConfig,
    Route,
    RouteAction,
    RouteConfig,
    RouteMatch,
)
from pixiu_py.config.types import HttpFilterRef
from pixiu_py.errors import Denied, UpstreamReset
from pixiu_py.filters.base import HttpFilter
from pixiu_py.http.connection_manager import HttpConnectionManager
from pixiu_py.http.exchange import Exchange, Response
from pixiu_py.http.headers import Headers
from pixiu_py.http.server import DownstreamServer
from pixiu_py.registry import Family, plugin
from tests.fakes.client import PATIENCE, Client, Reply, request
from tests.fakes.exchange import make_context


class Script:
    """What the filters of a test do, and what they were told."""

    def __init__(self, **hooks: Any) -> None:
        self.hooks = hooks
        self.calls: list[str] = []
        self.exchanges: list[Exchange] = []
        self.over = asyncio.Event()

    @property
    def exchange(self) -> Exchange:
        """The only exchange that is over."""
        (exchange,) = self.exchanges
        return exchange

    def write(self, exchange: Exchange) -> None:
        """As the access log: after everything else."""
        self.calls.append("log")
        self.exchanges.append(exchange)
        self.over.set()


class Scripted(HttpFilter):
    """Answers every request; each of its hooks may be replaced by the script."""

    terminal = True
    rewrites_body = False

    def _run(self, hook: str, *args: Any) -> Any:
        script: Script = self.context.access_log  # type: ignore[assignment]
        script.calls.append(hook)
        return script.hooks.get(hook, lambda *_: None)(*args)

    async def start(self) -> None:
        self._run("start")

    async def close(self) -> None:
        self._run("close")

    async def decode(self, exchange: Exchange) -> Any:
        if "decode" not in self.context.access_log.hooks:  # type: ignore[union-attr]
            return Response(200, Headers(), b"fine")
        result = self._run("decode", exchange)
        return await result if asyncio.iscoroutine(result) else result

    def encode(self, exchange: Exchange) -> None:
        self._run("encode", exchange)

    def encode_chunk(self, exchange: Exchange, chunk: bytes) -> bytes:
        return self._run("encode_chunk", exchange, chunk) or chunk


@plugin(Family.HTTP_FILTER, "test")
class Plain(Scripted):
    def done(self, exchange: Exchange) -> None:
        self._run("done", exchange)


@plugin(Family.HTTP_FILTER, "test-async")
class Async(Scripted):
    async def done(self, exchange: Exchange) -> None:
        await asyncio.sleep(0)
        self._run("done", exchange)


class Stream:
    """A body that sends these pieces, then raises or waits."""

    length: int | None = None

    def __init__(self, *pieces: bytes, then: BaseException | None = None) -> None:
        self.pieces, self.then, self.aborted = pieces, then, 0

    async def pipe(self, sink: Any) -> None:
        for piece in self.pieces:
            sink.write(piece)
        if self.then is None:
            await asyncio.Event().wait()
        raise self.then

    def abort(self) -> None:
        self.aborted += 1


def manager_of(script: Script, *matches: RouteMatch, kind: str = "test", **limits: Any) -> HttpConnectionManager:
    """A connection manager with one filter, and one route for each match."""
    context = make_context(time.monotonic, clusters=SimpleNamespace(get=lambda name: SimpleNamespace(name=name)))
    context.access_log = script  # type: ignore[assignment]
    for cls in (Plain, Async):
        context.registry.add(cls)
    routes = [Route(match=match, route=RouteAction(cluster="main")) for match in matches or [RouteMatch(prefix="/")]]
    config = HttpConnectionManagerConfig(
        route_config=RouteConfig(routes=routes), http_filters=[HttpFilterRef(name=kind)], generate_request_id=False
    )
    return HttpConnectionManager(config, HttpServerConfig(**limits), context, "net/http")


@asynccontextmanager
async def serving(manager: HttpConnectionManager) -> AsyncIterator[Client]:
    server = DownstreamServer(manager.handle)
    acceptor = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        async with Client(acceptor.sockets[0].getsockname()[1]) as client:
            yield client
    finally:
        acceptor.close()
        await server.end()
        await server.all_closed()
        await manager._context.tasks.close()


async def asked(script: Script, *matches: RouteMatch, method: str = "GET", target: str = "/x", **options: Any) -> Reply:
    """The reply to one request."""
    body = options.pop("body", None)
    async with serving(manager_of(script, *matches, **options)) as client:
        reply = await client.request(method, target, body=body)
        await asyncio.wait_for(script.over.wait(), PATIENCE)
        return reply


def answer(response: Any) -> Any:
    """A decode hook that answers, or raises."""

    def decode(exchange: Exchange) -> Any:
        if isinstance(response, BaseException):
            raise response
        return response

    return decode


# --- the way ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["test", "test-async"])
async def test_request_passes_every_stage_once(kind: str) -> None:
    """In this order; the access log comes last and knows everything."""
    script = Script(decode=answer(Response(200, Headers(), b"fine")))
    reply = await asked(script, kind=kind, target="/x?q")
    assert (reply.status, reply.body) == (200, b"fine")
    assert script.calls == ["decode", "encode", "encode_chunk", "done", "log"]
    seen = script.exchange
    assert (seen.listener, seen.route.template, seen.cluster.name) == ("net/http", "/**", "main")
    assert (seen.request.method, seen.request.target, seen.request.path, seen.request.query) == (
        "GET",
        "/x?q",
        "/x",
        "q",
    )
    assert (seen.request.client_address, seen.request.version, seen.end_reason) == ("127.0.0.1", (1, 1), "complete")
    assert (seen.status, seen.bytes_sent, seen.error) == (200, 4, None)


@pytest.mark.parametrize(
    ("sent", "target"),
    [
        (b"GET http://other.test/a%2Fb?q=1 HTTP/1.1\r\nHost: h\r\n\r\n", "/a%2Fb?q=1"),
        (b"GET http://other.test HTTP/1.1\r\nHost: h\r\n\r\n", "/"),
        (b"GET //a/../b HTTP/1.1\r\nHost: h\r\n\r\n", "//a/../b"),
    ],
)
async def test_target_is_what_the_client_wrote(sent: bytes, target: str) -> None:
    """In absolute form, without scheme and host (RFC 9112 section 3.2.2)."""
    script = Script()
    async with serving(manager_of(script)) as client:
        await client.send(sent)
        assert (await client.read_response()).status == 200
    assert script.exchange.request.target == target


@pytest.mark.parametrize(
    ("head", "length", "exists"),
    [(b"", 0, False), (b"Content-Length: 0\r\n", 0, False), (b"Transfer-Encoding: chunked\r\n", None, True)],
)
async def test_body_is_what_its_framing_says(head: bytes, length: int | None, exists: bool) -> None:
    """Declared, chunked, or none."""
    script = Script()
    async with serving(manager_of(script)) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: h\r\n" + head + b"\r\n" + b"0\r\n\r\n" * exists)
        await client.read_response()
    body = script.exchange.request.body
    assert (body.length, body.exists) == (length, exists)


# --- routes ---------------------------------------------------------------------------------------------------------------


async def test_no_route_is_a_404() -> None:
    """In Pixiu's shape; no filter hears of it, the access log does."""
    script = Script()
    reply = await asked(script, RouteMatch(prefix="/v1"))
    assert (reply.status, orjson.loads(reply.body)["message"]) == (404, "Route not found")
    assert (script.calls, script.exchange.end_reason) == (["log"], "no_route")


async def test_connect_is_refused() -> None:
    """This is no forward proxy."""
    script = Script()
    async with serving(manager_of(script)) as client:
        await client.send(b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n")
        assert (await client.read_response()).status == 405


async def test_route_may_depend_on_the_model() -> None:
    """The body is read for it, once; the filter finds it there."""
    script = Script()
    reply = await asked(script, RouteMatch(prefix="/", models=["gpt-*"]), method="POST", body=b'{"model":"gpt-5"}')
    assert reply.status == 200
    assert script.exchange.request.body.peek() == b'{"model":"gpt-5"}'


@pytest.mark.parametrize("body", [b"no json", b'{"model":1}', b'["gpt-5"]', b"{}"])
async def test_body_without_a_model_has_none(body: bytes) -> None:
    """And is no fault: another route may take it."""
    matches = RouteMatch(prefix="/", models=["gpt-*"]), RouteMatch(prefix="/x")
    assert (await asked(Script(), *matches, method="POST", body=body)).status == 200


async def test_each_request_of_a_connection_finds_its_own_route() -> None:
    """Also where the heads are the same, or nearly so."""
    matches = [
        RouteMatch(path="/x/:name"),
        RouteMatch(prefix="/y", headers=[HeaderMatch(name="content-length", values=["3"])]),
        RouteMatch(prefix="/y"),
    ]
    script = Script()
    async with serving(manager_of(script, *matches)) as client:
        for target, body in [("/x/a", b"")] * 3 + [("/y", b"abc"), ("/y", b"ab"), ("/y", b"ab"), ("/y", b"abc")]:
            assert (await client.request("POST", target, body=body)).status == 200
    found = [(exchange.route.position, exchange.path_values) for exchange in script.exchanges if exchange.route]
    assert found == [(0, {"name": "a"})] * 3 + [(1, {}), (2, {}), (2, {}), (1, {})]
    values = [exchange.path_values for exchange in script.exchanges[:3]]
    assert values[0] is not values[1] is not values[2]


async def test_head_that_is_too_large_is_refused() -> None:
    """All fields together."""
    script = Script()
    async with serving(manager_of(script, max_header_bytes=2000)) as client:
        reply = await client.request("GET", "/", {f"X-{n}": "y" * 100 for n in range(30)})
        assert reply.status == 431
    assert "decode" not in script.calls


# --- faults ---------------------------------------------------------------------------------------------------------------


async def test_error_of_a_filter_is_its_answer() -> None:
    """And passes encode and done."""
    script = Script(decode=answer(Denied("no")))
    reply = await asked(script)
    assert (reply.status, orjson.loads(reply.body)["error"]) == (403, "no")
    assert script.calls == ["decode", "encode", "encode_chunk", "done", "log"]
    assert script.exchange.end_reason == "denied"


@pytest.mark.parametrize("outcome", [KeyError("secret"), None])
async def test_fault_in_decode_is_a_500(outcome: Any) -> None:
    """Of this request only; it says nothing about the fault. So does a chain in which nobody answers."""
    script = Script(decode=answer(outcome))
    with capture_logs():
        reply = await asked(script)
    assert reply.status == 500
    assert b"secret" not in reply.body
    assert script.exchange.end_reason == "internal_error"


async def test_fault_in_encode_is_a_500() -> None:
    """The response that was to be sent is let go of."""
    body = Stream()
    script = Script(decode=answer(Response(200, Headers(), body)), encode=answer(KeyError("x")))
    with capture_logs():
        assert (await asked(script)).status == 500
    assert body.aborted == 1
    assert script.calls[-2:] == ["done", "log"]


@pytest.mark.parametrize("body", [b"fine", Stream(b"fine")])
async def test_fault_before_the_first_byte_is_a_500(body: Any) -> None:
    """Nothing has been sent, so the client can still be told; the connection is then closed."""

    def fail(exchange: Exchange, chunk: bytes) -> bytes:
        raise KeyError("x")

    script = Script(decode=answer(Response(200, Headers(), body)), encode_chunk=fail)
    with capture_logs():
        reply = await asked(script)
    assert (reply.status, reply.header("connection"), script.exchange.status) == (500, b"close", 500)
    assert script.exchange.end_reason == "filter_fault"


async def test_body_that_breaks_breaks_the_response() -> None:
    """Something has been sent: the client must not take it for the whole."""
    body = Stream(b"half", then=UpstreamReset())
    script = Script(decode=answer(Response(200, Headers(), body)))
    reply = await asked(script)
    assert (reply.status, reply.complete) == (200, False)
    assert (script.exchange.end_reason, body.aborted) == ("reset", 1)


async def test_body_that_breaks_before_its_first_byte_is_answered() -> None:
    """With the status of its error."""
    script = Script(decode=answer(Response(200, Headers(), Stream(then=UpstreamReset()))))
    assert (await asked(script)).status == 502


async def test_other_fault_in_a_body_is_logged() -> None:
    """It is ours, so somebody has to hear of it."""
    script = Script(decode=answer(Response(200, Headers(), Stream(b"half", then=KeyError("x")))))
    with capture_logs() as logs:
        assert not (await asked(script)).complete
    assert [entry["event"] for entry in logs] == ["response failed"]


# --- a client that leaves ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["test", "test-async"])
@pytest.mark.parametrize("stage", ["decode", "body"])
async def test_client_that_leaves_ends_the_exchange(kind: str, stage: str) -> None:
    """Wherever it is: the body is let go of, and everybody hears of the end once."""
    body = Stream(b"first")
    begun = asyncio.Event()

    async def decode(exchange: Exchange) -> Response:
        begun.set()
        if stage == "decode":
            await asyncio.Event().wait()
        return Response(200, Headers(), body)

    script = Script(decode=decode)
    async with serving(manager_of(script, kind=kind)) as client:
        await client.send(request("GET", "/"))
        await asyncio.wait_for(begun.wait(), PATIENCE)
        if stage == "body":
            await client.read_until(b"first")
        client.abort()
        await asyncio.wait_for(script.over.wait(), PATIENCE)
    assert script.calls.count("done") == script.calls.count("log") == 1
    assert (script.exchange.end_reason, body.aborted) == ("client_gone", stage == "body")
    assert script.exchange.status == (200 if stage == "body" else 0)


async def test_gateway_that_stops_is_told_from_a_client_that_leaves() -> None:
    """The exchange was cut off from this side."""
    script = Script(decode=answer(Response(200, Headers(), Stream(b"first"))))
    manager = manager_of(script)
    async with serving(manager) as client:
        await client.send(request("GET", "/"))
        await client.read_until(b"first")
        manager.draining = True
    assert script.exchange.end_reason == "shutdown"


# --- keep-alive ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", False),
    ],
    ids=["1.1", "close", "1.0", "1.0 kept", "declined upgrade"],
)
async def test_connection_is_kept_as_the_client_wants(sent: bytes, kept: bool) -> None:
    """After a declined upgrade nobody knows what comes next."""
    async with serving(manager_of(Script())) as client:
        await client.send(sent)
        reply = await client.read_response()
        assert (reply.header("connection") == b"close") is not kept
        if kept:
            assert (await client.request("GET", "/")).status == 200
        else:
            await client.wait_closed_by_peer()


async def test_client_that_was_never_asked_for_its_body_is_sent_away() -> None:
    """``Expect: 100-continue``: after a final answer it may send the body or not, and nobody can tell which it was."""
    async with serving(manager_of(Script())) as client:
        reply = await client.request("POST", "/", {"Expect": "100-continue", "Content-Length": "5"})
        assert (reply.interim, reply.header("connection")) == ([], b"close")


async def test_client_that_sent_its_body_anyway_is_kept() -> None:
    """It had not waited."""
    async with serving(manager_of(Script())) as client:
        reply = await client.request("POST", "/", {"Expect": "100-continue"}, b"12345")
        assert reply.header("connection") is None
        assert (await client.request("GET", "/")).status == 200


async def test_draining_gateway_closes_each_connection_after_its_response() -> None:
    """Also that of a request which had come before."""
    manager = manager_of(Script())
    async with serving(manager) as client:
        assert (await client.request("GET", "/")).header("connection") is None
        manager.draining = True
        assert (await client.request("GET", "/")).header("connection") == b"close"
        await client.wait_closed_by_peer()


# --- life --------------------------------------------------------------------------------------------------------------------


async def test_filters_start_and_close() -> None:
    """One that fails to close is logged and keeps nobody else from closing."""
    script = Script(close=answer(KeyError("x")))
    manager = manager_of(script)
    await manager.start()
    with capture_logs() as logs:
        await manager.close()
    assert script.calls == ["start", "close"]
    assert logs[0]["event"] == "filter failed to close"


async def test_route_may_have_a_chain_of_its_own() -> None:
    """Its filters are started and closed with the others."""
    script = Script()
    manager = manager_of(script)
    route = Route(match=RouteMatch(prefix="/"), route=RouteAction(), http_filters=[HttpFilterRef(name="test-async")])
    config = HttpConnectionManagerConfig(RouteConfig([route]), [HttpFilterRef(name="test")])
    manager = HttpConnectionManager(config, HttpServerConfig(), manager._context)
    await manager.start()
    async with serving(manager) as client:
        assert (await client.request("GET", "/")).status == 200
    await manager.close()
    assert script.calls.count("start") == script.calls.count("close") == 2
    assert isinstance(manager._filters[1], Async)


async def test_unknown_filter_is_an_error() -> None:
    """The config check should have found it; a typo must not be passed over."""
    manager = manager_of(Script())
    config = HttpConnectionManagerConfig(http_filters=[HttpFilterRef(name="no such")])
    with pytest.raises(LookupError):
        HttpConnectionManager(config, HttpServerConfig(), manager._context)
