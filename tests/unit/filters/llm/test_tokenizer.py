"""Rules of the tokenizer: exact counts from any split of any body, and not one byte of the client's changed."""

from __future__ import annotations

import gzip
import zlib
from types import SimpleNamespace

import orjson
import pytest
from fakes.exchange import make_context, make_exchange
from structlog.testing import capture_logs

from pixiu_py.filters.chain import FilterChain
from pixiu_py.filters.llm.tokenizer import Tokenizer, TokenizerConfig
from pixiu_py.filters.llm.usage import Usage
from pixiu_py.http.exchange import Attempt, Response
from pixiu_py.http.headers import Headers

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
DOCUMENT = orjson.dumps({"model": "m", "usage": USAGE})


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Rig:
    """One answer through a chain with a tokenizer."""

    def __init__(self, **config):
        self.clock = Clock()
        self.context = make_context(self.clock)
        self.chain = FilterChain([Tokenizer(TokenizerConfig(**config), self.context)])
        self.exchange = make_exchange("POST", "/v1/chat/completions")
        self.exchange.started = self.clock.now
        self.exchange.cluster = SimpleNamespace(name="llm")

    async def begin(self, content_type, encoding="", status=200):
        fields = {"Content-Type": content_type, **({"Content-Encoding": encoding} if encoding else {})}
        self.exchange.response = Response(status, Headers.of(fields))
        self.exchange.status = status
        await self.chain.decode(self.exchange)
        await self.chain.encode(self.exchange)
        assert not self.chain.rewrites(self.exchange)

    def send(self, data, size=10**6, seconds=0.0):
        for at in range(0, len(data), size):
            self.clock.now += seconds
            chunk = data[at : at + size]
            assert self.chain.encode_chunk(self.exchange, chunk) is chunk

    async def end(self, complete=True):
        if complete:
            assert self.chain.encode_end(self.exchange) == b""
        await self.chain.done(self.exchange)
        return self.exchange.params.get("usage")

    async def answer(self, data, content_type="application/json", encoding="", size=10**6):
        await self.begin(content_type, encoding)
        self.send(data, size)
        return await self.end()

    def samples(self, name):
        text = self.context.metrics.render().decode()
        pairs = (line.rpartition(" ") for line in text.splitlines() if line.startswith(name))
        return {labels.removeprefix(name): float(value) for labels, _, value in pairs}


def sse(*documents, end=b"\n"):
    events = [b"data: " + (data if isinstance(data, bytes) else orjson.dumps(data)) for data in documents]
    return b"".join(event + end + end for event in events)


CHAT_STREAM = [
    {"model": "m", "choices": [{"delta": {"content": "a"}}], "usage": None},
    {"model": "m", "choices": [{"delta": {"content": 'say "usage": {'}}], "usage": None},
    {"model": "m", "choices": [], "usage": USAGE},
    b"[DONE]",
]
ANTHROPIC_STREAM = (
    b'event: message_start\ndata: {"type":"message_start","message":{"model":"c","usage":{"input_tokens":3}}}\n\n'
    b'event: ping\ndata: {"type":"ping"}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"hi"}}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta",\ndata: "usage":{"output_tokens":9}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)
RESPONSES_STREAM = (
    b'event: response.created\ndata: {"type":"response.created","response":{"model":"r","usage":null}}\n\n'
    b'event: response.output_text.delta\ndata: {"delta":"hi"}\n\n'
    b"event: response.completed\ndata: "
    b'{"response":{"model":"r","usage":{"input_tokens":4,"output_tokens":2,"total_tokens":6}}}\n\n'
)


@pytest.mark.parametrize("size", [1, 7, 10**6])
@pytest.mark.parametrize(
    ("stream", "usage"),
    [
        (sse(*CHAT_STREAM), Usage("m", 10, 5, 15)),
        (sse(*CHAT_STREAM, end=b"\r\n"), Usage("m", 10, 5, 15)),
        (sse(*CHAT_STREAM, end=b"\r"), Usage("m", 10, 5, 15)),
        (b": heartbeat\n\n" + sse(*CHAT_STREAM), Usage("m", 10, 5, 15)),
        (ANTHROPIC_STREAM, Usage("c", 3, 9, 12)),
        (RESPONSES_STREAM, Usage("r", 4, 2, 6)),
    ],
    ids=["lf", "crlf", "cr", "comment", "anthropic", "responses"],
)
async def test_usage_is_found_in_streams_of_every_api_however_they_are_cut(stream, usage, size):
    rig = Rig()
    assert await rig.answer(stream, "text/event-stream; charset=utf-8", size=size) == usage
    assert rig.samples("pixiu_llm_prompt_tokens_total") == {
        f'{{model="{usage.model}",cluster_name="llm"}}': usage.prompt_tokens
    }


@pytest.mark.parametrize("size", [1, 10**6])
@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("", bytes), ("gzip", gzip.compress), ("deflate", zlib.compress)],
    ids=["", "gzip", "deflate"],
)
@pytest.mark.parametrize(
    ("body", "content_type"), [(DOCUMENT, "application/json"), (sse(*CHAT_STREAM), "text/event-stream")]
)
async def test_compressed_or_not(body, content_type, encoding, pack, size):
    assert await Rig().answer(pack(body), content_type, encoding, size) == Usage("m", 10, 5, 15)


async def test_counters_have_pixius_names_and_labels():
    rig = Rig()
    await rig.answer(DOCUMENT)
    labels = '{model="m",cluster_name="llm"}'
    assert rig.samples("pixiu_llm_prompt_tokens_total") == {labels: 10}
    assert rig.samples("pixiu_llm_completion_tokens_total") == {labels: 5}
    assert rig.samples("pixiu_llm_total_tokens_total") == {labels: 15}
    assert rig.samples("pixiu_llm_streaming_requests_total") == {}
    assert rig.samples("pixiu_llm_total_duration_microseconds_sum_total") == {
        '{cluster_name="llm",status_code="200"}': 0
    }


async def test_usage_in_every_chunk_is_counted_once():
    rig = Rig()
    chunks = [{"model": "m", "usage": {"prompt_tokens": 10, "completion_tokens": n}} for n in range(1, 6)]
    assert await rig.answer(sse(*chunks, b"[DONE]"), "text/event-stream") == Usage("m", 10, 5, 15)
    assert list(rig.samples("pixiu_llm_completion_tokens_total").values()) == [5]


async def test_each_attempt_is_counted_with_its_outcome():
    rig = Rig()
    rig.exchange.attempts = [
        Attempt("e1", "10.0.0.1:80", "llm", status=503, error="status_503"),
        Attempt("e2", "10.0.0.2:80", "llm", status=200),
    ]
    await rig.answer(DOCUMENT)
    first = '{cluster_name="llm",endpoint_id="e1",endpoint_address="10.0.0.1:80"'
    second = '{cluster_name="llm",endpoint_id="e2",endpoint_address="10.0.0.2:80"'
    assert rig.samples("pixiu_llm_upstream_requests_total") == {first + "}": 1, second + "}": 1}
    assert rig.samples("pixiu_llm_upstream_requests_success_total") == {second + ',status_code="200"}': 1}
    assert rig.samples("pixiu_llm_upstream_requests_failure_total") == {
        first + ',status_code="503",error_type="status_503"}': 1
    }


async def test_times_of_a_stream():
    rig = Rig()
    await rig.begin("text/event-stream")
    rig.send(b": heartbeat\n\n", seconds=1)
    rig.send(sse(CHAT_STREAM[0]), seconds=1)
    rig.send(sse(CHAT_STREAM[2]), seconds=3)
    rig.send(sse(b"[DONE]"), seconds=10)
    await rig.end()
    labels = '{model="m",cluster_name="llm"}'
    assert rig.samples("pixiu_llm_time_to_first_token_seconds_sum") == {labels: 2}
    assert rig.samples("pixiu_llm_time_to_last_token_seconds_sum") == {labels: 5}
    assert rig.samples("pixiu_llm_time_to_last_token_seconds_count") == {labels: 1}
    assert rig.samples("pixiu_llm_time_to_last_token_milliseconds_sum_total") == {'{cluster_name="llm"}': 5000}
    assert rig.samples("pixiu_llm_streaming_requests_total") == {'{cluster_name="llm"}': 1}
    assert list(rig.samples("pixiu_llm_total_duration_microseconds_sum_total").values()) == [15e6]


async def test_what_comes_before_the_first_token_is_no_token():
    rig = Rig()
    await rig.begin("text/event-stream")
    for event in ANTHROPIC_STREAM.split(b"\n\n")[:3]:
        rig.send(event + b"\n\n", seconds=1)
    await rig.end()
    assert list(rig.samples("pixiu_llm_time_to_first_token_seconds_sum").values()) == [3]


@pytest.mark.parametrize("event", [b'event: error\ndata: {"type":"error"}\n\n', b'data: {"error":{"code":1}}\n\n'])
async def test_an_error_event_is_no_token(event):
    rig = Rig()
    await rig.answer(event, "text/event-stream")
    assert rig.samples("pixiu_llm_streaming_requests_total") == {}


async def test_a_stream_that_breaks_counts_what_was_seen():
    rig = Rig()
    await rig.begin("text/event-stream")
    rig.send(sse(*CHAT_STREAM[:3]) + b'data: {"broken', seconds=1)
    assert await rig.end(complete=False) == Usage("m", 10, 5, 15)
    assert list(rig.samples("pixiu_llm_streaming_requests_total").values()) == [1]


async def test_usage_is_there_before_done_for_filters_that_hear_it_first():
    rig = Rig()
    await rig.begin("application/json")
    rig.send(DOCUMENT)
    rig.chain.encode_end(rig.exchange)
    assert rig.exchange.params["usage"] == Usage("m", 10, 5, 15)


@pytest.mark.parametrize(
    ("body", "content_type", "encoding", "reason"),
    [
        (b"{}", "application/json", "", "no_usage"),
        (b"[1]", "application/json", "", "no_usage"),
        (sse(CHAT_STREAM[0], b"[DONE]"), "text/event-stream", "", "no_usage"),
        (sse(b'{"usage": {broken'), "text/event-stream", "", "no_usage"),
        (b"{", "application/json", "", "malformed"),
        (b"", "application/json", "", "malformed"),
        (b"no gzip", "application/json", "gzip", "malformed"),
        (b"whatever", "application/json", "compress", "encoding"),
        (b" " * 5000 + DOCUMENT, "application/json", "", "too_large"),
        (gzip.compress(b" " * 10**6, mtime=0), "text/event-stream", "gzip", "too_large"),
        (sse({"usage": USAGE, "pad": "x" * 5000}), "text/event-stream", "", "too_large"),
    ],
)
async def test_what_cannot_be_counted_is_passed_on_and_told(body, content_type, encoding, reason):
    rig = Rig(max_document=4096, max_event=1024, max_decoded=4096)
    assert await rig.answer(body, content_type, encoding, size=100) is None
    labels = f'{{cluster_name="llm",reason="{reason}"}}'
    assert rig.samples("pixiu_llm_uncounted_responses_total") == {labels: 1}


async def test_an_answer_that_breaks_before_its_usage_is_told_apart():
    rig = Rig()
    await rig.begin("application/json")
    rig.send(DOCUMENT[:10])
    assert await rig.end(complete=False) is None
    assert rig.samples("pixiu_llm_uncounted_responses_total") == {'{cluster_name="llm",reason="incomplete"}': 1}


async def test_the_answer_to_a_head_request_has_nothing_to_count():
    rig = Rig()
    rig.exchange.request.method = "HEAD"
    assert await rig.answer(b"") is None
    assert rig.samples("pixiu_llm_uncounted_responses_total") == {}


async def test_after_an_oversized_event_the_rest_is_still_read():
    rig = Rig(max_event=1024)
    stream = sse({"pad": "x" * 5000}, *CHAT_STREAM)
    assert await rig.answer(stream, "text/event-stream", size=64) == Usage("m", 10, 5, 15)


@pytest.mark.parametrize(("content_type", "status"), [("text/html", 200), ("application/json", 500), ("", 200)])
async def test_other_answers_are_not_read(content_type, status):
    rig = Rig()
    await rig.begin(content_type, status=status)
    rig.send(DOCUMENT)
    assert await rig.end() is None
    assert rig.samples("pixiu_llm_uncounted_responses_total") == {}
    assert list(rig.samples("pixiu_llm_total_duration_microseconds_sum_total").values()) == [0]


async def test_names_that_are_not_known():
    rig = Rig()
    rig.exchange.cluster = None
    rig.exchange.attempts = [Attempt("", "", "", error="connect_failed")]
    await rig.answer(orjson.dumps({"usage": USAGE}))
    assert list(rig.samples("pixiu_llm_total_tokens_total")) == ['{model="unknown",cluster_name="unknown"}']
    assert list(rig.samples("pixiu_llm_upstream_requests_total")) == [
        '{cluster_name="unknown",endpoint_id="unknown",endpoint_address="unknown"}'
    ]


async def test_an_exchange_without_response_still_counts_its_attempts():
    rig = Rig()
    await rig.chain.decode(rig.exchange)
    rig.exchange.attempts = [Attempt("e", "a:1", "llm", error="reset")]
    await rig.end(complete=False)
    assert list(rig.samples("pixiu_llm_upstream_requests_failure_total").values()) == [1]


@pytest.mark.parametrize(("log_to_console", "lines"), [(True, 1), (False, 0)])
async def test_log_to_console(log_to_console, lines):
    rig = Rig(log_to_console=log_to_console)
    with capture_logs() as logs:
        await rig.answer(DOCUMENT)
    assert [entry["tokens"] for entry in logs] == [USAGE] * lines
