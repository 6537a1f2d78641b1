"""Invariant: whatever a client or an endpoint sends, a filter goes on, answers what can be sent, or raises a GatewayError.

More exactly, for every registered HTTP filter: given any request that the parser lets through it either goes on, answers with
a status of 100 to 599 and fields that can be written, or raises a ``GatewayError``; an endpoint gets one well-formed request
for each attempt. Given any response in any pieces its hooks do not raise, and one that only looks hands on what it was given.
"""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixiu_py.config.model import Cluster, Endpoint, SocketAddress
from pixiu_py.errors import GatewayError
from pixiu_py.filters.base import Context, HttpFilter
from pixiu_py.filters.chain import FilterChain
from pixiu_py.http.exchange import Exchange, Request, Response
from pixiu_py.http.headers import Headers, Raw, decode
from pixiu_py.registry import Entry
from tests.fakes import actions
from tests.fakes.clusters import cluster_context
from tests.fakes.exchange import chunks_of, make_body
from tests.fakes.kinds import FILTERS, REGISTRY, SAMPLES, decoded, name
from tests.fakes.upstream import Upstream

FEW = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
#: Seconds for one example, as a safety net.
PATIENCE = 2.0

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# At least what llhttp lets through; the rest never gets this far (tests/integration/test_bad_input.py).
VALUE_BYTES = bytes([9, *range(32, 127), *range(128, 256)])
TARGET_BYTES = bytes([byte for byte in (*range(33, 127), *range(128, 256)) if byte != ord("#")])


def text_of(allowed: bytes, most: int) -> st.SearchStrategy[bytes]:
    """Bytes out of ``allowed``."""
    return st.lists(st.sampled_from(allowed), max_size=most).map(bytes)


known_names = st.sampled_from(
    b"Authorization Origin Access-Control-Request-Method Access-Control-Request-Headers csrfSalt token csrfSecret Cookie "
    b"X-Forwarded-For Host Content-Type Content-Encoding Accept-Encoding Connection TE Upgrade X-Request-Id x-team "
    b"canary-by-header Vary Set-Cookie Retry-After Transfer-Encoding Content-Length".split()
)
known_values = st.sampled_from(
    [
        b"",
        b",",
        b"https://a.example",
        b"null",
        b"Bearer a.b.c",
        b"Bearer eyJhbGciOiJIUzI1NiJ9.e30.",
        b"application/json",
        b"text/event-stream",
        b"application/x-www-form-urlencoded; charset=x",
        b"gzip",
        b"deflate",
        b"close, x-team",
        b"1.2.3.4, ::1, unknown",
        b"GET",
        b"\xff\xfe",
    ]
)
names = st.one_of(known_names, st.from_regex(rb"\A[!#-'*+.^_`|~0-9A-Za-z-]{1,8}\Z"))
fields = st.lists(st.tuples(names, st.one_of(known_values, text_of(VALUE_BYTES, 12))), max_size=8)
methods = st.one_of(st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "PUT"]), st.from_regex(r"\A[A-Z!-]{1,6}\Z"))
paths = st.one_of(
    st.sampled_from(
        [b"/", b"/v1/chat/completions", b"/v1/messages", b"/v1/embeddings", b"//", b"/%", b"/%ff?%", b"/a?b=c&token="]
    ),
    text_of(TARGET_BYTES, 20).map(lambda tail: b"/" + tail),
)
documents = st.sampled_from(
    [
        b"{}",
        b"[]",
        b"null",
        b'{"model": "mock-small", "stream": true, "messages": [{"role": "user", "content": "hi"}]}',
        b'{"model": 5, "messages": "no"}',
        b'{"input": ["a"], "usage": {"prompt_tokens": -1, "completion_tokens": "x"}}',
        b'data: {"model":"m","usage":{"prompt_tokens":1}}\n\ndata: [DONE]\n\n',
        b"event: error\rdata: {\r\rdata",
        b"token=c2FsdC1z&a=b",
    ]
)
plain = st.one_of(documents, st.binary(max_size=200), st.lists(documents, max_size=3).map(b"".join))
bodies = st.one_of(plain, plain.map(gzip.compress), plain.map(lambda body: gzip.compress(body)[:-5]))


class Asked(NamedTuple):
    """A request."""

    method: str
    target: bytes
    fields: list[Raw]
    body: bytes
    chunked: bool


class Answered(NamedTuple):
    """A response, and where its body is cut."""

    status: int
    fields: list[Raw]
    body: bytes
    cuts: list[int]

    @property
    def pieces(self) -> list[bytes]:
        """The body, in pieces none of which is empty."""
        places = [0, *sorted(cut % (len(self.body) + 1) for cut in self.cuts), len(self.body)]
        return [self.body[begin:end] for begin, end in pairwise(places) if begin < end]


requests = st.builds(Asked, methods, paths, fields, st.one_of(st.just(b""), bodies), st.booleans())
responses = st.builds(Answered, st.integers(200, 599), fields, bodies, st.lists(st.integers(0, 300), max_size=6))


class Bench:
    """A loop with an endpoint in it, and every filter at work."""

    def __init__(self) -> None:
        self.upstream = Upstream(actions.respond(200, [(b"X-Odd", b"\xff"), actions.JSON], b'{"ok": true}'))
        self.context: Context = cluster_context()
        self.context.registry = REGISTRY
        self._filters: dict[tuple[str, bool], HttpFilter] = {}

    async def start(self) -> None:
        """Start the endpoint, its cluster and the filters."""
        await self.upstream.__aenter__()
        where = SocketAddress(address="127.0.0.1", port=self.upstream.port)
        self.context.clusters.build([Cluster(name="main", endpoints=[Endpoint(socket_address=where)])], self.context)
        await self.context.clusters.start()
        for entry in FILTERS:
            for busy in (False, True):
                sample = SAMPLES[entry.kind]
                made = entry.cls(decoded(entry, sample.working if busy else sample.config), self.context)
                await made.start()
                self._filters[entry.kind, busy] = made

    async def close(self) -> None:
        """End everything."""
        for made in self._filters.values():
            await made.close()
        await self.context.clusters.close()
        await self.context.tasks.close()
        await self.upstream.__aexit__(None, None, None)

    def chain(self, entry: Entry, busy: bool) -> FilterChain:
        """A chain of this filter alone."""
        return FilterChain([self._filters[entry.kind, busy]])

    def exchange(self, asked: Asked) -> Exchange:
        """The request as the connection manager would hand it over."""
        body = make_body(asked.body)
        if asked.chunked:
            body.length = None
        request = Request(asked.method, decode(asked.target), Headers(asked.fields), body)
        request.client_address = "127.0.0.1"
        exchange = Exchange(request, started=0.0)
        exchange.cluster = self.context.clusters.get("main")
        return exchange


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One loop for all examples."""
    with asyncio.Runner() as running:
        yield running


@pytest.fixture(scope="module")
def bench(runner: asyncio.Runner) -> Iterator[Bench]:
    """Everything that the examples need."""
    made = Bench()
    runner.run(made.start())
    yield made
    runner.run(made.close())


def check_fields(headers: Headers) -> None:
    """Nothing in them can split a head."""
    for key, value in headers.raw:
        assert TOKEN.fullmatch(key), key
        assert not re.search(rb"[\r\n\0]", value), value


async def ask(bench: Bench, chain: FilterChain, asked: Asked) -> None:
    """Send a request through the filter, and what it answers back through it."""
    exchange = bench.exchange(asked)
    before = len(bench.upstream.requests)
    try:
        async with asyncio.timeout(PATIENCE):
            response = await chain.decode(exchange)
            if response is not None:
                await look_at(chain, exchange, response)
    except GatewayError as error:
        exchange.error = error
    assert 400 <= getattr(exchange.error, "status", 400) < 600
    check_fields(exchange.request.headers)
    assert exchange.request.target.startswith("/")
    await chain.done(exchange)
    sent = bench.upstream.requests[before:]
    assert len(sent) == len(exchange.attempts)
    assert all(request.complete and request.header("host") is not None for request in sent)
    assert len(bench.context.tasks) <= 1  # an upload that has just ended
    bench.upstream.requests.clear()


async def look_at(chain: FilterChain, exchange: Exchange, response: Response) -> None:
    """The answer, as it would be sent."""
    exchange.response = response
    await chain.encode(exchange)
    assert exchange.response is not None
    assert 100 <= exchange.response.status <= 599
    check_fields(exchange.response.headers)
    for chunk in await chunks_of(exchange.response.body):
        chain.encode_chunk(exchange, chunk)
    chain.encode_end(exchange)


@pytest.mark.parametrize("busy", [False, True], ids=["smallest", "busy"])
@pytest.mark.parametrize("entry", FILTERS, ids=name)
@FEW
@given(asked=requests)
def test_any_request(runner: asyncio.Runner, bench: Bench, entry: Entry, busy: bool, asked: Asked) -> None:
    """It goes on, is answered, or is refused."""
    runner.run(ask(bench, bench.chain(entry, busy), asked))


async def answer(bench: Bench, chain: FilterChain, asked: Asked, answered: Answered) -> list[bytes]:
    """Send a response back through the filter; what becomes of each piece, and of the end."""
    exchange = bench.exchange(asked)
    exchange.entered = 1
    exchange.response = Response(answered.status, Headers(answered.fields), answered.body)
    await chain.encode(exchange)
    assert exchange.response is not None
    check_fields(exchange.response.headers)
    exchange.status = exchange.response.status
    passed = [chain.encode_chunk(exchange, piece) for piece in answered.pieces]
    passed.append(chain.encode_end(exchange))
    await chain.done(exchange)
    return passed


@pytest.mark.parametrize("busy", [False, True], ids=["smallest", "busy"])
@pytest.mark.parametrize("entry", FILTERS, ids=name)
@FEW
@given(asked=requests, answered=responses)
def test_any_response(
    runner: asyncio.Runner, bench: Bench, entry: Entry, busy: bool, asked: Asked, answered: Answered
) -> None:
    """Whatever its pieces: no hook raises, and a filter that only looks changes nothing."""
    chain = bench.chain(entry, busy)
    passed = runner.run(answer(bench, chain, asked, answered))
    assert all(type(piece) is bytes for piece in passed)
    if not chain.rewriters:
        assert passed == [*answered.pieces, b""]
