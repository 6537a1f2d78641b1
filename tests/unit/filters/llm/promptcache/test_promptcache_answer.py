"""Which answers are changed: JSON and event streams, compressed or not; everything else, and what is too large, passes."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Any

import brotli
import orjson
import pytest
import zstandard

from pixiu_py.errors import UpstreamReset
from pixiu_py.filters.llm.promptcache.account import Account
from pixiu_py.filters.llm.promptcache.answer import Answers, Whole
from pixiu_py.filters.llm.promptcache.blocks import CHAT
from pixiu_py.filters.llm.promptcache.config import PromptCacheConfig
from pixiu_py.filters.llm.promptcache.meters import Meters
from pixiu_py.http.body import Body, Sink
from pixiu_py.http.exchange import Response
from pixiu_py.http.headers import Headers
from pixiu_py.observability.metrics import Metrics
from tests.fakes.exchange import collect, make_exchange

DOCUMENT = b'{"choices":[],"usage":{"prompt_tokens":9}}'
STREAM = b'data: {"choices":[],"usage":{"prompt_tokens":9}}\n\ndata: [DONE]\n\n'
ENCODED = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


class Bench:
    """Answers, and what becomes of one."""

    def __init__(self, **config: Any) -> None:
        self.meters = Meters(Metrics())
        self.answers = Answers(PromptCacheConfig(**config), self.meters)
        self.account = Account(CHAT, {}, "alice", "m")
        self.account.is_active = True

    async def sent(
        self, body: bytes | Body, kind: str = "application/json", encoding: str = ""
    ) -> tuple[Response, bytes]:
        """The response and the bytes of its body."""
        fields = {"Content-Type": kind} if kind else {}
        if encoding:
            fields["Content-Encoding"] = encoding
        exchange = make_exchange("POST", "/v1/chat/completions")
        exchange.response = Response(200, Headers.of(fields), body)
        await self.answers.account(exchange, self.account)
        self.error = exchange.error
        assert exchange.response is not None
        content = await collect(exchange.response.body)
        await self.answers.close()
        return exchange.response, content

    @property
    def untouched(self) -> dict[Any, float]:
        return self.meters.untouched.series


class Unknown(Whole):
    """A body whose length nobody declares."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.length = None


class Broken(Unknown):
    """One that breaks off."""

    async def pipe(self, sink: Sink) -> None:
        sink.write(b"{")
        raise UpstreamReset


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", ""])
@pytest.mark.parametrize("body", [DOCUMENT, Whole(DOCUMENT), Unknown(DOCUMENT)], ids=["bytes", "declared", "unknown"])
async def test_a_document_is_told_and_is_bytes(kind: str, body: Any) -> None:
    """So its length is known, and sent."""
    response, content = await Bench().sent(body, kind)
    assert isinstance(response.body, bytes)
    assert orjson.loads(content)["usage"]["cache_read_input_tokens"] == 0


@pytest.mark.parametrize("body", [STREAM, Whole(STREAM)], ids=["bytes", "piped"])
async def test_a_stream_is_told(body: Any) -> None:
    response, content = await Bench().sent(body, "Text/Event-Stream; charset=utf-8")
    assert not isinstance(response.body, bytes)
    assert response.body.length is None
    assert b"cache_read_input_tokens" in content


@pytest.mark.parametrize("kind", ["text/html", "application/jsonlines", "application/octet-stream"])
async def test_other_media_pass(kind: str) -> None:
    bench = Bench()
    body = Whole(DOCUMENT)
    response, content = await bench.sent(body, kind)
    assert (response.body, content) == (body, DOCUMENT)
    assert bench.untouched == {("media_type",): 1}


@pytest.mark.parametrize("encoding", sorted(ENCODED))
async def test_compressed_answers_are_told_and_sent_uncompressed(encoding: str) -> None:
    for plain, kind in ((DOCUMENT, "application/json"), (STREAM, "text/event-stream")):
        for body in (ENCODED[encoding](plain), Whole(ENCODED[encoding](plain))):
            response, content = await Bench().sent(body, kind, encoding)
            assert "content-encoding" not in response.headers
            assert b'"cache_read_input_tokens":0' in content


async def test_a_compressed_answer_that_says_nothing_stays_compressed() -> None:
    body = gzip.compress(b'{"no":"usage"}')
    response, content = await Bench().sent(body, encoding="gzip")
    assert (content, response.headers.get("content-encoding")) == (body, "gzip")


@pytest.mark.parametrize(
    ("body", "encoding", "reason"),
    [
        (DOCUMENT, "compress", "encoding"),
        (DOCUMENT, "gzip", "malformed"),
        (gzip.compress(DOCUMENT, mtime=0)[:-5], "gzip", "malformed"),
        (gzip.compress(b"\0" * 10_000, mtime=0), "gzip", "too_large"),
    ],
    ids=["unknown", "none", "cut", "bomb"],
)
async def test_what_cannot_be_decompressed_passes(body: bytes, encoding: str, reason: str) -> None:
    bench = Bench(max_decoded=5000)
    response, content = await bench.sent(body, encoding=encoding)
    assert (content, response.headers.get("content-encoding")) == (body, encoding)
    assert bench.untouched == {(reason,): 1}


async def test_a_stream_in_an_unknown_encoding_passes() -> None:
    bench = Bench()
    _, content = await bench.sent(STREAM, "text/event-stream", "compress")
    assert content == STREAM
    assert bench.untouched == {("encoding",): 1}


@pytest.mark.parametrize("body", [Whole(DOCUMENT), Unknown(DOCUMENT)], ids=["declared", "unknown"])
async def test_a_document_above_the_limit_passes(body: Any) -> None:
    bench = Bench(max_document=10)

    class Pieces(type(body)):  # type: ignore[misc]
        async def pipe(self, sink: Sink) -> None:
            for at in range(0, len(DOCUMENT), 7):
                if not sink.write(DOCUMENT[at : at + 7]):
                    await sink.drain()
            sink.finish()

    pieces = Pieces(DOCUMENT)
    _, content = await bench.sent(pieces)
    assert content == DOCUMENT
    assert bench.untouched == {("too_large",): 1}


async def test_a_document_that_breaks_off_is_an_error_for_the_client() -> None:
    """Nothing of it has been sent, so that the client gets a status."""
    bench = Bench()
    response, content = await bench.sent(Broken(b""))
    assert response.status == 502
    assert orjson.loads(content)["error"]
    assert isinstance(bench.error, UpstreamReset)


async def test_only_so_many_documents_are_held_at_a_time() -> None:
    """One more passes as it is; it is not refused."""
    bench = Bench(max_collecting=1)
    come = asyncio.Event()

    class Slow(Unknown):
        async def pipe(self, sink: Sink) -> None:
            await come.wait()
            await super().pipe(sink)

    first = make_exchange("POST", "/v1/chat/completions")
    first.response = Response(200, Headers.of({"Content-Type": "application/json"}), Slow(DOCUMENT))
    waiting = asyncio.get_running_loop().create_task(bench.answers.account(first, bench.account))
    await asyncio.sleep(0)
    second = make_exchange("POST", "/v1/chat/completions")
    body = Whole(DOCUMENT)
    second.response = Response(200, Headers.of({"Content-Type": "application/json"}), body)
    await bench.answers.account(second, Account(CHAT, {}, "alice", "m"))
    assert second.response.body is body
    assert bench.untouched == {("busy",): 1}
    come.set()
    await waiting
    assert isinstance(first.response.body, bytes)
    await bench.answers.close()
