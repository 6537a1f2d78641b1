"""Answers of endpoints on their way through the prompt cache: bytes, framing, markers, failures, clients that leave."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from pixiu_py.filters.base import HttpFilter
from pixiu_py.filters.llm.plan import plan_of
from pixiu_py.http.exchange import Exchange
from pixiu_py.registry import Family, plugin
from tests.conftest import StartGateway
from tests.fakes import bodies
from tests.fakes.actions import JSON, SSE, respond, stall, stream
from tests.fakes.client import Client, request
from tests.fakes.conf import Block, endpoint, http_filter, llm_conf
from tests.fakes.gateway import RunningGateway
from tests.fakes.promptcache import chat, text, user
from tests.fakes.upstream import Action, Script, Upstream

KEY = {"Authorization": "Bearer sk-alice"}
USAGE = {"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 102}
MARKED = chat(user(text("w" * 40, "")), user(text("tail")))
DONE = bodies.DONE


def prompt_cache(**config: Any) -> Block:
    """The filter, on an index that goes with the gateway."""
    base: Block = {
        "index": {"type": "memory"},
        "principals": [{"key": "sk-alice", "principal": "alice"}],
        "tariffs": [{"model": "m", "min_prefix_tokens": 1}, {"model": "n", "min_prefix_tokens": 1}],
    }
    return http_filter("dgp.filter.llm.promptcache", **{**base, **config})


def whole(**more: Any) -> Action:
    """A chat completion with 100 tokens of input."""
    return bodies.chat("a", usage=USAGE, **more)


def counting(request: Any) -> Action:
    """An engine that can be asked for tokens, too: there are always seven."""
    return respond(body=b'{"tokens":[1,2,3,4,5,6,7]}') if request.target == "/tokenize" else whole()


def events(*more: bytes, usage: Any = USAGE) -> list[bytes]:
    """A chat stream that tells its usage at its end."""
    last = bodies.event({"id": "c", "choices": [], "usage": usage})
    return [bodies.chunk_event("a"), *more, bodies.chunk_event("", "stop"), last, DONE]


async def started(gateway: StartGateway, *endpoints: Block, **config: Any) -> RunningGateway:
    return await gateway(llm_conf(*endpoints, filters=[prompt_cache(**config)]))


async def asked(running: RunningGateway, document: Any = MARKED, key: dict[str, str] = KEY, **more: Any) -> Any:
    """The client's reply."""
    return await running.request("POST", "/v1/chat/completions", key, orjson.dumps({**document, **more}))


def split(usage: dict[str, Any]) -> tuple[int, int]:
    return usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]


def usages(body: bytes) -> list[dict[str, Any]]:
    documents = [orjson.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: {")]
    return [document["usage"] for document in documents if document.get("usage")]


# --- what is sent ----------------------------------------------------------------------------------------------------


async def test_endpoints_get_markers_only_if_they_know_them(gateway: StartGateway) -> None:
    """By what is configured, else by what is known of the provider; every other byte arrives as it was sent."""
    marker = b',"cache_control":{"type":"ephemeral"}'
    template = b'{"model":"m", "messages":[{"role":"user","content":[{"type":"text","text":"\\u0061"%b}]}] }'
    body, stripped = template % marker, template % b""
    for meta, expected in (
        ({}, stripped),
        ({"provider": "vllm"}, stripped),
        ({"cache_control": "keep"}, body),
        ({"provider": "anthropic"}, body),
        ({"provider": "anthropic", "cache_control": "strip"}, stripped),
    ):
        for key in (KEY, {"Authorization": "Bearer sk-other"}):
            async with Upstream([whole()]) as upstream:
                running = await started(gateway, endpoint(upstream, outer={"scheme": "http"}, **meta))
                await running.request("POST", "/v1/chat/completions", key, body)
                assert upstream.request.body == expected
                assert upstream.request.header("content-length") == b"%d" % len(expected)


async def test_a_body_without_anything_to_change_passes_byte_for_byte(gateway: StartGateway) -> None:
    body = b'{ "model" : "m","messages":[ ] ,"n":12345678901234567890123 }'
    async with Upstream([whole()]) as upstream:
        running = await started(gateway, endpoint(upstream))
        await running.request("POST", "/v1/chat/completions", KEY, body)
        assert upstream.request.body == body


async def test_plain_answers_are_asked_for(gateway: StartGateway) -> None:
    async with Upstream([whole()]) as upstream:
        running = await started(gateway, endpoint(upstream))
        await running.request(
            "POST", "/v1/chat/completions", {**KEY, "Accept-Encoding": "gzip, br"}, orjson.dumps(MARKED)
        )
        assert upstream.request.header("accept-encoding") == b"identity"


async def test_refusals_come_before_anything_is_sent(gateway: StartGateway) -> None:
    async with Upstream([]) as upstream:
        running = await started(gateway, endpoint(upstream))
        reply = await asked(running, chat(user(text("a", "24h"))))
        assert (reply.status, upstream.requests) == (400, [])


async def test_who_is_refused_for_a_key_is_not_refused_for_markers(gateway: StartGateway) -> None:
    """Whoever authenticates stands before, and answers first."""
    async with Upstream([]) as upstream:
        authority = http_filter(
            "dgp.filter.http.authority", authority_rules=[{"limit": 1, "strategy": 0, "items": ["127.0.0.1"]}]
        )
        running = await gateway(llm_conf(endpoint(upstream), filters=[authority, prompt_cache()]))
        reply = await asked(running, chat(user(text("a", "24h"))))
        assert reply.status == 403
        assert b"cache_control" not in reply.body
        assert upstream.requests == []


# --- what comes back -------------------------------------------------------------------------------------------------


async def test_documents_are_framed_by_their_new_length(gateway: StartGateway) -> None:
    answer = b'{"id":1.50,"usage":{"prompt_tokens":100}, "x":"\\u00e9"}'
    chunked = stream([answer[:20], answer[20:]], headers=[JSON])
    async with Upstream([respond(200, [JSON], answer), chunked]) as upstream:
        running = await started(gateway, endpoint(upstream))
        for _ in range(2):
            reply = await asked(running)
            assert int(reply.header("content-length")) == len(reply.body)
            assert reply.body.startswith(b'{"id":1.50,"usage":{')
            assert reply.body.endswith(b'}, "x":"\\u00e9"}')
            assert b'"cache_read_input_tokens":' in reply.body


@pytest.mark.parametrize("pieces", [1, 7, 1000])
async def test_streams_are_told_in_their_last_event(gateway: StartGateway, pieces: int) -> None:
    content = b"".join(events(b": comment\n\n"))
    cut = [content[at : at + pieces] for at in range(0, len(content), pieces)]
    async with Upstream(stream(cut, headers=[SSE])) as upstream:
        running = await started(gateway, endpoint(upstream))
        for expected in ((0, 10), (10, 0)):
            reply = await asked(running, stream=True, stream_options={"include_usage": True})
            assert [split(usage) for usage in usages(reply.body)] == [expected]
            before = content.index(b'"usage"')
            assert reply.body[:before] == content[:before]
            assert reply.body.endswith(b"}\n\n" + DONE)


async def test_the_frame_that_we_asked_for_is_hidden(gateway: StartGateway) -> None:
    async with Upstream([stream(events()), whole()]) as upstream:
        running = await started(gateway, endpoint(upstream))
        reply = await asked(running, stream=True)
        assert reply.body == b"".join([*events()[:2], DONE])
        assert orjson.loads(upstream.requests[0].body)["stream_options"] == {"include_usage": True}
        assert split((await asked(running)).json()["usage"]) == (10, 0), "it was counted all the same"


async def test_usage_in_every_event(gateway: StartGateway) -> None:
    continuous = bodies.event({"choices": [{"delta": {"content": "b"}, "finish_reason": None}], "usage": USAGE})
    async with Upstream(stream(events(continuous))) as upstream:
        running = await started(gateway, endpoint(upstream))
        for last in ((0, 10), (10, 0)):
            reply = await asked(running, stream=True, stream_options={"include_usage": True})
            assert len(usages(reply.body)) == 2
            assert split(usages(reply.body)[-1]) == last


async def test_an_event_of_a_megabyte_and_crlf(gateway: StartGateway) -> None:
    big = bodies.event({"choices": [{"delta": {"content": "x" * 2**20}, "finish_reason": None}]})
    content = b"".join(events(big)).replace(b"\n", b"\r\n")
    async with Upstream(stream([content], headers=[SSE])) as upstream:
        running = await started(gateway, endpoint(upstream))
        reply = await asked(running, stream=True, stream_options={"include_usage": True})
        before = content.index(b'"usage"')
        assert reply.body[:before] == content[:before]
        assert split(usages(reply.body)[-1]) == (0, 10)


async def test_compressed_answers_are_told(gateway: StartGateway) -> None:
    encoded = (b"Content-Encoding", b"gzip")
    document = gzip.compress(orjson.dumps(bodies.completion("a", usage=USAGE)))
    content = gzip.compress(b"".join(events()))
    script = [respond(200, [JSON, encoded], document), stream([content[:50], content[50:]], headers=[SSE, encoded])]
    async with Upstream(script) as upstream:
        running = await started(gateway, endpoint(upstream))
        reply = await asked(running)
        assert (split(reply.json()["usage"]), reply.header("content-encoding")) == ((0, 10), None)
        reply = await asked(running, stream=True, stream_options={"include_usage": True})
        assert (split(usages(reply.body)[0]), reply.header("content-encoding")) == ((10, 0), None)


async def test_the_split_is_never_more_than_the_input(gateway: StartGateway) -> None:
    """Text counted without a template may come out above the engine's count."""
    async with Upstream(bodies.chat("a", usage={"prompt_tokens": 8, "completion_tokens": 1})) as upstream:
        running = await started(gateway, endpoint(upstream))
        assert split((await asked(running)).json()["usage"]) == (0, 0), "writes alone are too many"
        assert split((await asked(running)).json()["usage"]) == (8, 0)


# --- failures --------------------------------------------------------------------------------------------------------

FAILURES: dict[str, Script] = {
    "an error": respond(500, [JSON], b'{"error":{"message":"x"},"usage":{"prompt_tokens":100}}'),
    "a client's error": respond(400, [JSON], b'{"usage":{"prompt_tokens":100}}'),
    "an error in a document": bodies.chat("a", usage=USAGE, error={"message": "x"}),
    "no usage": respond(200, [JSON], b'{"choices":[]}'),
    "no JSON": respond(200, [(b"Content-Type", b"text/plain")], b"hello"),
    "an error in a stream": stream([*events()[:1], bodies.event({"error": {"message": "x"}}), *events()[2:]]),
    "a stream without usage": stream(bodies.chat_events("a")),
    "a stream that breaks": bodies.cut_sse("a"),
    "a stream without its end": stream(events()[:1]),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_failure_writes_nothing(gateway: StartGateway, failure: str) -> None:
    action = FAILURES[failure]
    assert isinstance(action, Action)
    async with Upstream([action, whole()]) as upstream:
        running = await started(gateway, endpoint(upstream))
        await asked(running, stream="stream" in failure)
        assert split((await asked(running)).json()["usage"]) == (0, 10)


async def test_an_error_that_is_null_is_none(gateway: StartGateway) -> None:
    async with Upstream(
        [stream([*events()[:1], bodies.event({"error": None, "choices": []}), *events()[1:]]), whole()]
    ) as upstream:
        running = await started(gateway, endpoint(upstream))
        await asked(running, stream=True)
        assert split((await asked(running)).json()["usage"]) == (10, 0)


async def test_a_client_that_leaves_writes_nothing(gateway: StartGateway) -> None:
    """In the middle of a stream; the fixture looks for what might be left of it."""
    async with Upstream([stream([*events()[:1]], then="hold"), whole()]) as upstream:
        running = await started(gateway, endpoint(upstream))
        async with running.client() as client:
            body = orjson.dumps({**MARKED, "stream": True})
            await client.send(request("POST", "/v1/chat/completions", KEY, body))
            await client.read_until(b"data: ")
        await upstream.client_gone.wait()
        await running.wait_log()
        assert split((await asked(running)).json()["usage"]) == (0, 10)


async def test_a_client_that_leaves_while_the_usage_waits_writes_nothing(gateway: StartGateway) -> None:
    """The classification goes with it; the fixture looks for what might be left."""
    asked_for = asyncio.Event()
    gone = asyncio.Event()

    async def hanging(request: Any) -> Action:
        if request.method == "GET":
            return respond(body=b'{"models":[{"alias":"m","tokenizer_version":"v"}]}')
        asked_for.set()
        return stall(asyncio.Event()) if not gone.is_set() else respond(body=b'{"segment_counts":[10]}')

    async with Upstream(hanging) as service, Upstream([stream(events()), whole()]) as upstream:
        tokenizer = {"type": "service", "url": f"http://{service.address}"}
        running = await started(gateway, endpoint(upstream), tokenizer=tokenizer)
        async with running.client() as client:
            body = orjson.dumps({**MARKED, "stream": True})
            await client.send(request("POST", "/v1/chat/completions", KEY, body))
            await client.read_until(b'finish_reason":"stop"')
            await asked_for.wait()
        await running.wait_log()
        gone.set()
        assert split((await asked(running)).json()["usage"]) == (0, 10)


@pytest.mark.parametrize("streams", [False, True])
async def test_answers_that_are_not_accounted_for_are_scrubbed_if_so_configured(
    gateway: StartGateway, streams: bool
) -> None:
    """So that nobody is shown a discount that nobody gives."""
    dirty = {**USAGE, "prompt_tokens_details": {"cached_tokens": 7, "audio_tokens": 1}, "cache_discount": 0.5}
    action = stream(events(usage=dirty)) if streams else bodies.chat("a", usage=dirty)
    async with Upstream(action) as upstream:
        for scrubs, cached in ((False, 7), (True, 0)):
            running = await started(gateway, endpoint(upstream), scrub_inactive=scrubs)
            reply = await asked(running, key={}, stream=streams)
            (usage,) = usages(reply.body) if streams else [reply.json()["usage"]]
            assert usage["prompt_tokens_details"] == {"cached_tokens": cached, "audio_tokens": 1}
            assert ("cache_discount" in usage) is not scrubs
            assert "cache_read_input_tokens" not in usage


# --- other models ----------------------------------------------------------------------------------------------------


async def test_after_a_fallback_the_endpoint_that_answers_gets_its_own_form(gateway: StartGateway) -> None:
    """The first one keeps markers, the second one must not see them."""
    async with Upstream(respond(500)) as first, Upstream(whole()) as second:
        running = await started(
            gateway, endpoint(first, "a", fallback=True, cache_control="keep"), endpoint(second, "b", fallback=True)
        )
        assert split((await asked(running)).json()["usage"]) == (0, 10)
        assert b"cache_control" in first.request.body
        assert b"cache_control" not in second.request.body


async def test_a_model_is_cached_under_the_name_that_clients_use(gateway: StartGateway) -> None:
    """However the endpoint calls it."""
    models: Sequence[Any] = [{"name": "m", "upstream": "engine/m"}, "n"]
    async with Upstream(whole()) as upstream:
        running = await started(gateway, endpoint(upstream, models=list(models)))
        found = [split((await asked(running, model=model)).json()["usage"]) for model in ("m", "n", "m")]
        assert found == [(0, 10), (0, 10), (10, 0)]
        assert orjson.loads(upstream.requests[0].body)["model"] == "engine/m"


# --- waiting ---------------------------------------------------------------------------------------------------------


async def test_the_first_token_does_not_wait_for_a_slow_tokenizer(gateway: StartGateway) -> None:
    """The usage waits for it, and what is late is told as zeros; the next request is told the same way."""
    release = asyncio.Event()
    service_asked = asyncio.Event()

    async def slow(request: Any) -> Action:
        if request.method == "GET":
            return respond(body=b'{"models":[{"alias":"m","tokenizer_version":"v"}]}')
        service_asked.set()
        await release.wait()
        return respond(body=b'{"segment_counts":[10]}')

    async with Upstream(slow) as service, Upstream(stream(events())) as upstream:
        tokenizer = {"type": "service", "url": f"http://{service.address}"}
        running = await started(gateway, endpoint(upstream), tokenizer=tokenizer)
        async with running.client() as client:
            body = orjson.dumps({**MARKED, "stream": True, "stream_options": {"include_usage": True}})
            await client.send(request("POST", "/v1/chat/completions", KEY, body))
            await client.read_until(b'finish_reason":"stop"')
            await service_asked.wait()
            release.set()
            rest = await client.read_until(b"[DONE]")
        assert b'"cache_creation_input_tokens":10' in rest


async def test_a_tokenizer_that_does_not_answer_costs_the_cache_and_not_the_request(gateway: StartGateway) -> None:
    async with Upstream(respond(503)) as service, Upstream(whole()) as upstream:
        tokenizer = {"type": "service", "url": f"http://{service.address}"}
        running = await started(gateway, endpoint(upstream), tokenizer=tokenizer)
        reply = await asked(running)
        assert (reply.status, split(reply.json()["usage"])) == (200, (0, 0))


async def test_the_engine_that_serves_counts(gateway: StartGateway) -> None:
    """Through its own tokenizer, asked beside the request."""
    async with Upstream(counting) as upstream:
        running = await started(gateway, endpoint(upstream), tokenizer={"type": "endpoint"})
        assert split((await asked(running)).json()["usage"]) == (0, 7)
        assert split((await asked(running)).json()["usage"]) == (7, 0)


async def test_a_canary_counts_its_own_tokens(gateway: StartGateway) -> None:
    """A prompt is shown to nobody in the cluster that it was turned away from."""
    async with Upstream(whole()) as main, Upstream(counting) as canary:
        turned = http_filter("dgp.filter.http.traffic", traffics=[{"name": "new", "router": "/", "canary-weight": 100}])
        clusters = [{"name": "new", "endpoints": [endpoint(canary)]}]
        filters = [turned, prompt_cache(tokenizer={"type": "endpoint"})]
        running = await gateway(llm_conf(endpoint(main), filters=filters, clusters=clusters))
        assert split((await asked(running)).json()["usage"]) == (0, 7)
    assert main.requests == []


@plugin(Family.HTTP_FILTER, "test.models")
class Models(HttpFilter):
    """Has two models tried."""

    def decode(self, exchange: Exchange) -> None:
        """First one, then the other."""
        plan_of(exchange).models = ("m", "n")


async def test_a_stream_that_began_with_heartbeats_is_accounted_for_the_model_that_answers(
    gateway: StartGateway,
) -> None:
    """When the first bytes went to the client, the first model was still being asked."""
    release = asyncio.Event()

    slow = stall(release, then=respond(500))
    async with Upstream([slow, stream(events()), whole()]) as upstream:
        filters = [http_filter("test.models"), prompt_cache()]
        text = llm_conf(
            endpoint(upstream, models=["m", "n"]),
            proxy={"heartbeat": "5ms"},
            filters=filters,
            top={"metric": {"enable": True, "prometheus_port": 0}},
        )
        running = await gateway(text, Models)
        async with running.client() as client:
            body = orjson.dumps({**MARKED, "stream": True, "stream_options": {"include_usage": True}})
            await client.send(request("POST", "/v1/chat/completions", KEY, body))
            await client.read_until(b": heartbeat")
            release.set()
            rest = await client.read_until(b"[DONE]")
        assert b'"cache_creation_input_tokens":10' in rest
        async with Client(list(running.ports.values())[-1]) as client:
            metrics = (await client.request("GET", "/metrics")).body
        assert b'pixiu_py_promptcache_tokens_total{model="n",class="write_5m"} 10' in metrics
