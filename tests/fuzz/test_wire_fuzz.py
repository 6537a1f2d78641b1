"""What passes a gateway is the same, byte for byte in both directions, whether heads are recognised or all are parsed."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings

from pixiu_py.filters.base import HttpFilter
from pixiu_py.gateway import Gateway
from pixiu_py.http.connection import DownstreamConnection
from pixiu_py.http.exchange import Exchange
from pixiu_py.http.known_head import KnownHead
from pixiu_py.http.received import Fields
from pixiu_py.http.writer import ResponseWriter
from pixiu_py.registry import Family, plugin
from pixiu_py.upstream.connection import UpstreamConnection
from pixiu_py.upstream.pool import ConnectionPool
from tests.fakes.conf import endpoint, http_conf, http_filter, llm_conf
from tests.fakes.exchanges import ANSWERS, STREAM, Exchanged, conversations
from tests.fakes.gateway import RunningGateway
from tests.fakes.parsing import ParsingConnection
from tests.fakes.transport import FedTransport

#: For each configuration; an example is a whole conversation, with either gateway.
EXAMPLES = 60
_GIVEN = Fields([(b"X-Given", b"100%"), (b"X-More", b"1")], (b"x-given", b"x-more"))


@plugin(Family.HTTP_FILTER, "test.changes")
class Changes(HttpFilter):
    """Changes fields in each of the ways that stay cheap for a head that comes again."""

    def decode(self, exchange: Exchange) -> None:
        headers = exchange.request.headers
        said = headers.take("x-session") or "-"
        headers.append((b"X-Said", said.encode("ascii", "replace")))
        headers.withhold("x-withheld")

    def encode(self, exchange: Exchange) -> None:
        assert exchange.response is not None
        exchange.response.headers.put(_GIVEN)
        exchange.response.headers.append((b"X-Seen", b"1"))


class Wire:
    """A gateway with one client and its endpoints' connections, all played by the test."""

    def __init__(self, gateway: Gateway, learns: bool) -> None:
        (listener,) = gateway._listeners.values()
        self._server = listener._server  # type: ignore[attr-defined]
        self._learns = learns
        self.kind = UpstreamConnection if learns else ParsingConnection
        self._wire = FedTransport()
        self._wire.closed = True
        self._client: DownstreamConnection | None = None
        self._upstream: UpstreamConnection | None = None
        self._upstream_wire = FedTransport()

    def connect(self, pool: ConnectionPool) -> UpstreamConnection:
        self._upstream_wire = FedTransport()
        self._upstream = self.kind(asyncio.get_running_loop(), pool, pool._heads)
        self._upstream.connection_made(self._upstream_wire)
        return self._upstream

    def _connect_client(self) -> DownstreamConnection:
        client: DownstreamConnection = self._server()
        if not self._learns:
            client._heads._tries = 0
        self._wire = FedTransport()
        client.connection_made(self._wire)
        self._client = client
        return client

    async def run(self, exchanges: list[Exchanged]) -> list[Any]:
        """What the endpoint got and the client got, after each exchange."""
        seen = [await self._exchange(exchange) for exchange in exchanges]
        await self._hang_up()
        if self._upstream is not None and self._upstream.transport is not None:
            self._upstream.connection_lost(None)
        self._upstream = None
        await settle()
        return seen

    async def _exchange(self, exchange: Exchanged) -> Any:
        client = self._client
        if client is None or self._wire.closed:
            await self._hang_up()
            client = self._connect_client()
        wire, before = self._wire, self._upstream_wire
        sent, got = len(wire.written), len(before.written)
        for piece in exchange.request:
            if not wire.closed:
                client.data_received(piece)
                await settle()
        asked = self._upstream_wire
        upstream = self._upstream
        for piece in exchange.answer:
            if upstream is not None and upstream.transport is not None and not asked.closed:
                upstream.data_received(piece)
                await settle()
        received = asked.written[got if asked is before else 0 :]
        seen = (received, asked.closed, usual(wire.written[sent:]), wire.closed)
        if upstream is not None and asked.closed and upstream.transport is not None:
            upstream.connection_lost(None)
        await settle()
        return seen

    async def _hang_up(self) -> None:
        if self._client is not None:
            self._client.connection_lost(None)
            self._client = None
        await settle()


#: The size of a chunk, which goes on as the endpoint wrote it if it is not parsed.
_SIZE = re.compile(rb"(?<=\r\n)0*([0-9A-Fa-f]+)(?=\r\n)")


def usual(sent: bytes) -> bytes:
    """What the client got, with the sizes of chunks as the gateway writes them."""
    return _SIZE.sub(lambda found: found[1].lower(), sent)


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(12):
        await asyncio.sleep(0)


ROUTES: list[dict[str, Any]] = [
    {"match": {"prefix": "/b", "hosts": ["b.test"]}, "route": {"cluster": "main"}},
    {"match": {"prefix": "/v1", "headers": [{"name": "x-route", "values": ["b"]}]}, "route": {"cluster": "other"}},
    {"match": {"prefix": "/v1"}, "route": {"cluster": "main"}},
]
OTHER = {"name": "other", "endpoints": [{"id": "o", "socket_address": {"address": "127.0.0.2", "port": 1}}]}


def confs() -> dict[str, str]:
    plain = endpoint(1, retry=0)
    changes = [http_filter("test.changes")]
    keyed = endpoint(1, retry=0, api_key="own%")
    return {
        "llm": llm_conf(keyed),
        "llm, changed": llm_conf(plain, filters=changes),
        "http, by header": http_conf(plain, routes=ROUTES, clusters=[OTHER]),
        "http, changed": http_conf(plain, filters=changes, manager={"generate_request_id": False}),
    }


class Pair:
    """Two gateways with one configuration: one that learns, and one that parses everything."""

    def __init__(self, learning: RunningGateway, parsing: RunningGateway) -> None:
        self.running = (learning, parsing)
        self.wires = (Wire(learning.gateway, True), Wire(parsing.gateway, False))
        self.current = self.wires[0]

    async def run(self, exchanges: list[Exchanged]) -> list[list[Any]]:
        """What was seen of either."""
        both = []
        for wire in self.wires:
            self.current = wire
            both.append(await wire.run(exchanges))
        return both


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that a gateway makes itself differs from run to run."""
    monkeypatch.setattr("pixiu_py.http.writer.time", lambda: 0.0)
    monkeypatch.setattr("pixiu_py.http.request_id.getrandbits", lambda bits: 7)


def conversation(*requests: bytes) -> list[Exchanged]:
    """These requests, each answered in the same way but for its id."""
    answer = ANSWERS[0].replace(b"!!", b"00").replace(b"@", b"2") + b"{}"
    return [Exchanged((sent,), (answer.replace(b"#", b"%d" % n),)) for n, sent in enumerate(requests)]


def routed(value: bytes) -> bytes:
    return b"POST /v1/x HTTP/1.1\r\nHost: a\r\nX-Route: %b\r\nContent-Length: 2\r\n\r\nhi" % value


#: Of a value that decides about the route, and of two that end the field.
EXAMPLE = conversation(*[routed(value) for value in (b"1", b"22", b"3", b"b", b"4", b"5\nX: 1")])
SPLIT = conversation(*[routed(value) for value in (b"1", b"22", b"3", b"4\r\nConnection: close", b"5", b"6")])
_CHUNKS = (b"9\r\ndata: x\n\n\r\n", b"9\r\ndata: y\n\n\r\n", b"1\r\n\n\r\n", b"9\r\ndata: z\n\n\r\n")
LINES = [Exchanged((routed(b"1").replace(b"/x", b"/chat/completions"),), (STREAM, *_CHUNKS, b"x"))]


class Both:
    """Two gateways in a loop of their own, and how a test runs something with them."""

    def __init__(self, runner: asyncio.Runner, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._runner = runner
        self._pair = runner.run(self._start(confs()[name], folder))

        async def connect(pool: ConnectionPool) -> UpstreamConnection:
            return self._pair.current.connect(pool)

        monkeypatch.setattr(ConnectionPool, "_open", connect)

    async def _start(self, text: str, folder: Path) -> Pair:
        folders = [folder / "learning", folder / "parsing"]
        for each in folders:
            each.mkdir()
        return Pair(*[await RunningGateway.start(text, each, [Changes]) for each in folders])

    def run(self, exchanges: list[Exchanged]) -> list[list[Any]]:
        """What was seen of either."""
        return self._runner.run(self._pair.run(exchanges))

    def stop(self) -> None:
        for running in self._pair.running:
            self._runner.run(running.stop())


@pytest.mark.parametrize("name", confs())
def test_what_is_recognised_passes_like_what_is_parsed(
    name: str, tmp_path: Path, still: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with asyncio.Runner() as runner:
        both = Both(runner, name, tmp_path, monkeypatch)

        @settings(max_examples=EXAMPLES)
        @given(conversations())
        @example(EXAMPLE)
        @example(SPLIT)
        @example(LINES)
        def same(exchanges: list[Exchanged]) -> None:
            learnt, parsed = both.run(exchanges)
            assert learnt == parsed

        try:
            same()
        finally:
            both.stop()


def test_heads_are_recognised_and_chunks_pass(tmp_path: Path, still: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above would compare nothing."""
    found: list[str] = []
    match, granted = KnownHead.match, ResponseWriter.passage

    def matched(known: KnownHead[Any], data: bytes) -> Any:
        head = match(known, data)
        found.extend([type(head[0]).__name__] if head is not None else [])
        return head

    def passing(writer: ResponseWriter) -> Any:
        found.append("Passage")
        return granted(writer)

    monkeypatch.setattr(KnownHead, "match", matched)
    monkeypatch.setattr(ResponseWriter, "passage", passing)
    with asyncio.Runner() as runner:
        both = Both(runner, "llm, changed", tmp_path, monkeypatch)
        both.run(EXAMPLE)
        both.run(LINES)
        both.stop()
    assert (found.count("RequestHead"), found.count("ResponseHead"), found.count("Passage")) == (3, 3, 2)
