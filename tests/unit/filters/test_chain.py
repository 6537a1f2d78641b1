"""Rules of the filter chain: order, who was entered, and that the end is heard by all."""

from __future__ import annotations

import asyncio

import pytest
from fakes.exchange import make_context, make_exchange
from structlog.testing import capture_logs

from pixiu_py.filters.base import HttpFilter
from pixiu_py.filters.chain import FilterChain
from pixiu_py.http.exchange import Response


class Spy(HttpFilter):
    """Writes down each call of its hooks; answers, or fails in done, when told to."""

    rewrites_body = False

    def __init__(self, name, calls, answer=None, fails=False):
        super().__init__(None, make_context())
        self.name = name
        self.calls = calls
        self.answer = answer
        self.fails = fails

    def decode(self, exchange):
        self.calls.append(f"decode {self.name}")
        return self.answer

    def encode(self, exchange):
        self.calls.append(f"encode {self.name}")

    def done(self, exchange):
        self.calls.append(f"done {self.name}")
        if self.fails:
            raise RuntimeError(self.name)


class AsyncSpy(Spy):
    """The same with coroutine hooks."""

    async def decode(self, exchange):
        await asyncio.sleep(0)
        return super().decode(exchange)

    async def encode(self, exchange):
        await asyncio.sleep(0)
        super().encode(exchange)

    async def done(self, exchange):
        await asyncio.sleep(0)
        super().done(exchange)


class Suffix(HttpFilter):
    """Adds its letter to each chunk, and holds back a last word."""

    def __init__(self, letter):
        super().__init__(None, make_context())
        self.letter = letter

    def encode_chunk(self, exchange, chunk):
        return chunk + self.letter

    def encode_end(self, exchange):
        return self.letter.upper()


class Swallow(HttpFilter):
    """Holds everything back."""

    def encode_chunk(self, exchange, chunk):
        return b""


async def run(chain, exchange):
    """What the connection manager does with a chain."""
    response = await chain.decode(exchange)
    exchange.response = response or Response(200)
    await chain.encode(exchange)
    await chain.done(exchange)
    return response


@pytest.mark.parametrize("kind", [Spy, AsyncSpy])
async def test_decode_in_order_then_encode_and_done_in_reverse(kind):
    calls = []
    chain = FilterChain([kind("a", calls), kind("b", calls)])
    assert await run(chain, make_exchange()) is None
    assert calls == ["decode a", "decode b", "encode b", "encode a", "done b", "done a"]


@pytest.mark.parametrize("kind", [Spy, AsyncSpy])
async def test_a_local_reply_passes_the_entered_filters_only(kind):
    calls = []
    reply = Response(401)
    exchange = make_exchange()
    chain = FilterChain([kind("a", calls), kind("b", calls, answer=reply), kind("c", calls)])
    assert await run(chain, exchange) is reply
    assert exchange.entered == 2
    assert calls == ["decode a", "decode b", "encode b", "encode a", "done b", "done a"]


@pytest.mark.parametrize("answer", [None, Response(401)])
async def test_a_plain_decode_may_return_a_coroutine(answer):
    """What that returns is the answer; None goes on to the next filter."""

    class Longer(Spy):
        def decode(self, exchange):
            return self.longer()

        async def longer(self):
            await asyncio.sleep(0)
            self.calls.append(f"decode {self.name}")
            return self.answer

    calls = []
    chain = FilterChain([Longer("a", calls, answer), Spy("b", calls)])
    assert await chain.decode(make_exchange()) is answer
    assert calls == (["decode a", "decode b"] if answer is None else ["decode a"])


async def test_a_filter_that_fails_in_decode_was_entered():
    class Failing(Spy):
        def decode(self, exchange):
            raise RuntimeError

    calls = []
    exchange = make_exchange()
    chain = FilterChain([Failing("a", calls), Spy("b", calls)])
    with pytest.raises(RuntimeError):
        await chain.decode(exchange)
    await chain.done(exchange)
    assert calls == ["done a"]


async def test_a_filter_without_decode_is_entered_when_it_is_passed():
    class EncodeOnly(HttpFilter):
        def encode(self, exchange):
            exchange.response.headers.add("x-seen", "1")

    exchange = make_exchange()
    await run(FilterChain([EncodeOnly(None, make_context())]), exchange)
    assert exchange.response.headers.get("x-seen") == "1"


async def test_nothing_is_called_before_any_filter_was_entered():
    calls = []
    chain = FilterChain([Spy("a", calls)])
    exchange = make_exchange()
    await chain.encode(exchange)
    await chain.done(exchange)
    assert calls == []
    assert not chain.watches(exchange)


@pytest.mark.parametrize("kind", [Spy, AsyncSpy])
async def test_a_failure_in_done_is_logged_and_the_others_still_hear(kind):
    calls = []
    chain = FilterChain([kind("a", calls), kind("b", calls, fails=True), kind("c", calls)])
    with capture_logs() as logs:
        await run(chain, make_exchange())
    assert calls[-3:] == ["done c", "done b", "done a"]
    assert [(entry["log_level"], entry["filter"]) for entry in logs] == [("error", kind.__name__)]


async def test_cancellation_in_done_is_not_swallowed():
    class Cancelled(HttpFilter):
        def done(self, exchange):
            raise asyncio.CancelledError

    chain = FilterChain([Cancelled(None, make_context())])
    exchange = make_exchange()
    await chain.decode(exchange)
    with pytest.raises(asyncio.CancelledError):
        await chain.done(exchange)


async def test_chunks_pass_in_reverse_and_held_back_ends_pass_the_filters_after():
    chain = FilterChain([Suffix(b"a"), Suffix(b"b")])
    exchange = make_exchange()
    await chain.decode(exchange)
    assert chain.encode_chunk(exchange, b"1") == b"1ba"
    assert chain.encode_end(exchange) == b"BaA"


async def test_a_chunk_that_is_held_back_does_not_reach_the_next_filter():
    chain = FilterChain([Suffix(b"a"), Swallow(None, make_context())])
    exchange = make_exchange()
    await chain.decode(exchange)
    assert chain.encode_chunk(exchange, b"1") == b""


async def test_chunks_of_a_local_reply_skip_the_filters_that_were_not_entered():
    chain = FilterChain([Suffix(b"a"), Spy("b", [], answer=Response(200)), Suffix(b"c")])
    exchange = make_exchange()
    await chain.decode(exchange)
    assert chain.encode_chunk(exchange, b"1") == b"1a"
    assert chain.encode_end(exchange) == b"A"


async def test_only_entered_rewriters_cost_the_response_its_length():
    chain = FilterChain([Spy("a", [], answer=Response(200)), Suffix(b"b")])
    exchange = make_exchange()
    await chain.decode(exchange)
    assert not chain.rewrites(exchange)
    exchange.entered = 2
    assert chain.rewrites(exchange)


class EndOnly(HttpFilter):
    """Has a last word and looks at nothing."""

    def encode_end(self, exchange):
        return b"end"


@pytest.mark.parametrize("kind", [Swallow, EndOnly])
async def test_one_hook_on_bodies_is_enough_once_its_filter_was_entered(kind):
    chain = FilterChain([Spy("a", [], answer=Response(200)), kind(None, make_context())])
    exchange = make_exchange()
    await chain.decode(exchange)
    assert chain.sees_bodies
    assert not chain.watches(exchange)
    assert not chain.rewrites(exchange)
    exchange.entered = 2
    assert chain.watches(exchange)
    assert chain.rewrites(exchange)


async def test_a_filter_that_only_looks_is_no_rewriter():
    class Looker(Suffix):
        rewrites_body = False

    chain = FilterChain([Looker(b"a")])
    exchange = make_exchange()
    await chain.decode(exchange)
    assert chain.watches(exchange)
    assert not chain.rewrites(exchange)


async def test_hooks_that_are_not_overridden_cost_nothing():
    chain = FilterChain([HttpFilter(None, make_context())])
    exchange = make_exchange()
    assert await run(chain, exchange) is None
    assert exchange.entered == 1
    assert not chain.sees_bodies
    assert not chain.watches(exchange)
