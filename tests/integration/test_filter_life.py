"""Filters in a running gateway: every hook in its turn, the end exactly once, and a broken filter harms one request only."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest
from structlog.testing import capture_logs

from pixiu_py.config.types import Model, doc
from pixiu_py.errors import Denied, StartError
from pixiu_py.filters.base import Context, HttpFilter
from pixiu_py.filters.llm.proxy.walk import PREFERRED_ENDPOINT
from pixiu_py.http.exchange import Exchange, Response
from pixiu_py.registry import Family, plugin
from tests.conftest import StartGateway
from tests.fakes import actions, bodies
from tests.fakes.actions import respond
from tests.fakes.bodies import chat, error
from tests.fakes.client import chat_body, request
from tests.fakes.conf import endpoint, http_conf, http_filter, llm_conf
from tests.fakes.upstream import Upstream, refusing_port

STREAM = request("POST", "/v1/chat/completions", body=chat_body(stream=True))


class WitnessConfig(Model, frozen=True):
    """How the witness behaves."""

    name: str = "w"
    answer: Annotated[int, doc("Answer with this status instead of going on.")] = 0
    fail_in: Annotated[str, doc("Raise in this hook.")] = ""
    prefer: Annotated[str, doc("Endpoint to begin with.")] = ""


#: What the witnesses have seen, as ``name:hook``. Emptied by each test.
seen: list[str] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    """Each test starts with an empty list."""
    seen.clear()


@plugin(Family.HTTP_FILTER, "test.witness")
class Witness(HttpFilter):
    """Notes every hook that is called; answers or fails where it is told to."""

    Config = WitnessConfig

    def _note(self, hook: str) -> None:
        seen.append(f"{self.config.name}:{hook}")
        if self.config.fail_in == hook:
            raise RuntimeError(f"told to fail in {hook}")

    def decode(self, exchange: Exchange) -> Response | None:
        """Note, perhaps prefer an endpoint, perhaps answer."""
        self._note("decode")
        assert exchange.params.setdefault(self.config.name, exchange) is exchange, "params of another exchange"
        if self.config.prefer:
            exchange.params[PREFERRED_ENDPOINT] = self.config.prefer
        if self.config.answer == 403:
            raise Denied("not today")
        return Response.json(self.config.answer, {"by": self.config.name}) if self.config.answer else None

    async def encode(self, exchange: Exchange) -> None:
        """Note, and leave a mark for the client."""
        self._note("encode")
        assert exchange.response is not None
        exchange.response.headers.add(f"x-{self.config.name}", "1")

    def encode_chunk(self, exchange: Exchange, chunk: bytes) -> bytes:
        """Note; the body is not changed, though it might be."""
        self._note("chunk")
        return chunk

    async def done(self, exchange: Exchange) -> None:
        """Note how it ended."""
        self._note(f"done {exchange.end_reason}")


def witness(name: str = "w", **config: Any) -> dict[str, Any]:
    """A witness in the chain."""
    return http_filter("test.witness", name=name, **config)


def ends() -> list[str]:
    """The ends that were noted."""
    return [entry for entry in seen if ":done" in entry]


async def test_hooks_run_in_order_and_back(gateway: StartGateway) -> None:
    """Decode in config order, everything else in reverse."""
    async with Upstream([chat("a")]) as upstream:
        conf = llm_conf(endpoint(upstream), filters=[witness("a"), witness("b")])
        running = await gateway(conf, Witness)
        reply = await running.chat()
        assert (reply.header("x-a"), reply.header("x-b")) == (b"1", b"1")
        await running.wait_log()
    expected = [
        "a:decode",
        "b:decode",
        "b:encode",
        "a:encode",
        "b:chunk",
        "a:chunk",
        "b:done complete",
        "a:done complete",
    ]
    assert seen == expected


@pytest.mark.parametrize(("answer", "status"), [(418, 418), (403, 403)])
async def test_local_reply_passes_back_through_the_filters_before_it(
    gateway: StartGateway, answer: int, status: int
) -> None:
    """Whether returned or raised: those that were entered see it, those behind were never asked."""
    async with Upstream([]) as upstream:
        filters = [witness("a"), witness("b", answer=answer), witness("c")]
        running = await gateway(llm_conf(endpoint(upstream), filters=filters), Witness)
        reply = await running.chat()
        assert (reply.status, reply.header("x-a")) == (status, b"1")
        await running.wait_log()
    assert not [entry for entry in seen if entry.startswith("c:")]
    assert len(ends()) == 2


async def test_upstream_failure_passes_back_too(gateway: StartGateway) -> None:
    """A 502 of ours has its CORS headers and its log line."""
    with refusing_port() as port:
        running = await gateway(llm_conf(endpoint(port), filters=[witness()]), Witness)
        assert (await running.chat()).header("x-w") == b"1"
        await running.wait_log()
    assert len(ends()) == 1


@pytest.mark.parametrize("hook", ["decode", "encode"])
async def test_failure_before_the_head_is_a_500(gateway: StartGateway, hook: str) -> None:
    """It says nothing of what happened inside, ends once, and the next request is served."""
    async with Upstream(chat("a")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), filters=[witness(fail_in=hook)]), Witness)
        async with running.client() as client:
            for count in (1, 2):
                reply = await client.chat()
                assert (reply.status, reply.json()["message"]) == (500, "Internal server error")
                assert b"told to fail" not in reply.body
                line = (await running.wait_log(count))[-1]
                assert (line["status"], line["end"], line["error"]) == (500, "internal_error", "internal_error")
                assert len(ends()) == count


class Panic(BaseException):
    """What a library in Rust raises; no ``Exception``."""


@plugin(Family.HTTP_FILTER, "test.panic")
class Panicking(HttpFilter):
    """Fails with what few expect."""

    def _fail(self, exchange: Exchange, hook: str) -> None:
        if exchange.request.path == f"/{hook}/panic":
            raise Panic("a panic")
        if exchange.request.path == f"/{hook}/exit":
            raise SystemExit(3)

    def decode(self, exchange: Exchange) -> None:
        """Perhaps fail."""
        self._fail(exchange, "decode")

    def encode(self, exchange: Exchange) -> None:
        """Perhaps fail."""
        self._fail(exchange, "encode")

    def encode_chunk(self, exchange: Exchange, chunk: bytes) -> bytes:
        """Perhaps fail."""
        self._fail(exchange, "chunk")
        return chunk

    def encode_end(self, exchange: Exchange) -> bytes:
        """Perhaps fail."""
        self._fail(exchange, "end")
        return b""

    def done(self, exchange: Exchange) -> None:
        """Perhaps fail."""
        self._fail(exchange, "done")


@pytest.mark.parametrize("kind", ["panic", "exit"])
async def test_what_is_no_exception_is_a_failure_all_the_same(gateway: StartGateway, kind: str) -> None:
    """It ends neither the gateway nor leaves a client without an answer."""
    async with Upstream(respond(200)) as upstream:
        running = await gateway(http_conf(endpoint(upstream), filters=[http_filter("test.panic")]), Panicking)
        async with running.client() as client:
            for hook, status in (("decode", 500), ("encode", 500), ("done", 200), ("none", 200)):
                assert (await client.request("GET", f"/{hook}/{kind}")).status == status
        errors = [line["error"] for line in await running.wait_log(4)]
        assert errors == ["internal_error", "internal_error", "", ""]


@pytest.mark.parametrize("kind", ["panic", "exit"])
@pytest.mark.parametrize("hook", ["chunk", "end"])
async def test_what_is_no_exception_harms_one_body_only(gateway: StartGateway, hook: str, kind: str) -> None:
    """Where bytes are relayed as well, outside of any task: the client sees that body break, and the next is whole."""
    async with Upstream(actions.stream(bodies.chat_events("a"))) as upstream:
        running = await gateway(http_conf(endpoint(upstream), filters=[http_filter("test.panic")]), Panicking)
        async with running.client() as client:
            await client.send(STREAM.replace(b"/v1/chat/completions", f"/{hook}/{kind}".encode()))
            assert not (await client.read_rest()).endswith(b"0\r\n\r\n")
        reply = await running.request("POST", "/none", body=b"{}")
        assert (reply.status, reply.complete) == (200, True)


async def test_failure_in_the_body_is_visible(gateway: StartGateway) -> None:
    """The response has begun: the client must not take what it got for the whole. The endpoint is let go of."""
    async with Upstream([actions.stream(bodies.chat_events("a"), then="hold")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), filters=[witness(fail_in="chunk")]), Witness)
        async with running.client() as client:
            await client.send(STREAM)
            assert not (await client.read_rest()).endswith(b"0\r\n\r\n")
        await upstream.until(lambda up: up.open == 0)
        await running.wait_log()
    assert len(ends()) == 1


async def test_failure_at_the_end_is_nobodys_business(gateway: StartGateway) -> None:
    """A filter that fails in ``done`` neither keeps another from hearing nor spoils the response."""
    async with Upstream([chat("a")]) as upstream:
        filters = [witness("a"), witness("b", fail_in="done complete")]
        running = await gateway(llm_conf(endpoint(upstream), filters=filters), Witness)
        assert (await running.chat()).complete
        await running.wait_log()
    assert ends() == ["b:done complete", "a:done complete"]


@pytest.mark.parametrize("make", [llm_conf, http_conf])
async def test_client_that_leaves_is_an_end_too(gateway: StartGateway, make: Any) -> None:
    """Before the head and in the middle of the body: once, with its reason."""
    stuck = actions.stream(bodies.chat_events("a")[:1], then="hold")
    async with Upstream([actions.stall(), stuck]) as upstream:
        running = await gateway(make(endpoint(upstream), filters=[witness()]), Witness)
        async with running.client() as client:
            await client.send(STREAM)
            await upstream.until_requests(1)
        await running.wait_log(1)
        async with running.client() as client:
            await client.send(STREAM)
            await client.read_until(b"a0")
        await running.wait_log(2)
    assert ends() == ["w:done client_gone"] * 2


async def test_broken_stream_is_an_end_too(gateway: StartGateway) -> None:
    """Once, with the kind of the failure."""
    async with Upstream([bodies.cut_sse("a")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), filters=[witness()]), Witness)
        await running.chat(stream=True)
        await running.wait_log()
    assert len(ends()) == 1
    assert ends() != ["w:done complete"]


async def test_routes_may_have_chains_of_their_own(gateway: StartGateway) -> None:
    """``http_filters`` of a route replace the manager's."""
    own = [witness("own"), http_filter("dgp.filter.http.httpproxy")]
    routes = [
        {"match": {"prefix": "/own"}, "route": {"cluster": "main"}, "http_filters": own},
        {"match": {"prefix": "/"}, "route": {"cluster": "main"}},
    ]
    async with Upstream(respond(200)) as upstream:
        running = await gateway(http_conf(endpoint(upstream), filters=[witness("all")], routes=routes), Witness)
        assert (await running.request("GET", "/own/x")).header("x-all") is None
        assert (await running.request("GET", "/other")).header("x-own") is None


async def test_preferred_endpoint_comes_first(gateway: StartGateway) -> None:
    """Whatever the balancer would pick; after it, the others in config order."""
    async with Upstream(error(500)) as bad, Upstream(chat("b")) as good:
        endpoints = [endpoint(good, "a"), endpoint(bad, "b", fallback=True, health_check_interval=60_000)]
        running = await gateway(llm_conf(*endpoints, filters=[witness(prefer="b")]), Witness)
        for _ in range(3):
            assert (await running.chat()).status == 200
        tried = [[a["endpoint"] for a in line["attempts"]] for line in await running.wait_log(3)]
        assert tried == [["b", "a"], ["a"], ["a"]]  # a preferred endpoint at rest gives way to the balancer's pick


async def test_unknown_preference_is_ignored(gateway: StartGateway) -> None:
    """A hint is only a hint."""
    async with Upstream([chat("a")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), filters=[witness(prefer="nobody")]), Witness)
        assert (await running.chat()).status == 200


class Trouble(HttpFilter):
    """Cannot start."""

    async def start(self) -> None:
        """Fail."""
        raise RuntimeError("told to fail in start")


@plugin(Family.HTTP_FILTER, "test.trouble")
class TroubleInStart(Trouble):
    """Cannot start."""


@plugin(Family.HTTP_FILTER, "test.unbuilt")
class TroubleInInit(HttpFilter):
    """Cannot be built."""

    def __init__(self, config: Any, context: Context) -> None:
        raise KeyError("x")


async def test_filter_that_cannot_start_stops_the_gateway(gateway: StartGateway) -> None:
    """A gateway with half of its filters does not run; what had started is closed (see the fixture)."""
    async with Upstream([]) as upstream:
        conf = llm_conf(endpoint(upstream), filters=[witness(), http_filter("test.trouble")])
        with pytest.raises(StartError, match="filter TroubleInStart cannot start: RuntimeError: told to fail in start"):
            await gateway(conf, Witness, TroubleInStart)


async def test_filter_that_cannot_be_built_stops_the_gateway(gateway: StartGateway) -> None:
    """Likewise: one line says which, and the log where."""
    async with Upstream([]) as upstream:
        conf = llm_conf(endpoint(upstream), filters=[witness(), http_filter("test.unbuilt")])
        with capture_logs() as logs:
            with pytest.raises(StartError, match="filter TroubleInInit cannot be built: KeyError: 'x'"):
                await gateway(conf, Witness, TroubleInInit)
    assert [(entry["event"], entry["filter"]) for entry in logs] == [("filter cannot be built", "TroubleInInit")]


@plugin(Family.HTTP_FILTER, "test.nonsense")
class Nonsense(HttpFilter):
    """Answers with what is no body, or with a body that cannot even be let go of."""

    def decode(self, exchange: Exchange) -> Response:
        """Answer."""
        return Response(200, None, "text")  # type: ignore[arg-type] # that is the point

    def encode(self, exchange: Exchange) -> None:
        """Go further."""
        if exchange.request.path == "/none":
            exchange.response = "text"  # type: ignore[assignment] # likewise


@pytest.mark.parametrize("path", ["/body", "/none"])
async def test_answer_that_is_none_is_a_500(gateway: StartGateway, path: str) -> None:
    """The client is told, and so is the access log."""
    async with Upstream([]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), filters=[http_filter("test.nonsense")]), Nonsense)
        assert (await running.request("GET", path)).status == 500
        line = (await running.wait_log())[0]
    assert (line["status"], line["end"], line["error"]) == (500, "internal_error", "internal_error")


async def test_waits_between_chunks_cost_nothing_but_time(gateway: StartGateway) -> None:
    """A filter that watches the body sees each piece as it comes, and so does the client."""
    go = asyncio.Event()
    async with Upstream([actions.stream([b"data: 1\n\n", go, b"data: 2\n\n"])]) as upstream:
        running = await gateway(http_conf(endpoint(upstream), filters=[witness()]), Witness)
        async with running.client() as client:
            await client.send(request("GET", "/x"))
            await client.read_until(b"data: 1\n\n")
            assert seen.count("w:chunk") == 1
            go.set()
            await client.read_until(b"data: 2\n\n")
