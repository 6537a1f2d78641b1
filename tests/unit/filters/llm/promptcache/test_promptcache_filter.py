"""The filter on single exchanges: whom it leaves alone, what it refuses, what it lets be sent."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from pixiu_py.filters.llm.plan import PLAN, plan_of
from pixiu_py.filters.llm.promptcache.account import Account
from pixiu_py.filters.llm.promptcache.filter import ACCOUNT, PromptCache
from pixiu_py.http.exchange import Attempt, Exchange, Response
from pixiu_py.plugins import build_registry
from pixiu_py.registry import Family
from pixiu_py.stores.promptcache.base import Scope, Write
from tests.fakes.exchange import collect, make_context, make_exchange
from tests.fakes.indexes import kept
from tests.fakes.kinds import decoded
from tests.fakes.promptcache import BILLING, chat, mark, system, text, user

REGISTRY = build_registry(None)
MARKED = chat(user(text("a b c d e f g h", "")), user(text("tail")))
ANSWER = {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 1}}
BASE: dict[str, Any] = {
    "index": {"type": "memory"},
    "principals": [{"key": "sk-alice", "principal": "alice"}, {"key": "sk-bob", "principal": "bob"}],
    "tariffs": [{"model": "m", "min_prefix_tokens": 2}, {"model": "n", "min_prefix_tokens": 2}],
}


class Bench:
    """A started filter, and one exchange after the other through it."""

    def __init__(self, **config: Any) -> None:
        entry = REGISTRY.find(Family.HTTP_FILTER, "dgp.filter.llm.promptcache")
        assert entry is not None
        context = make_context()
        context.registry = REGISTRY
        self.filter = PromptCache(decoded(entry, {**BASE, **config}), context)
        self.meters = self.filter._meters

    async def __aenter__(self) -> Bench:
        await self.filter.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.filter.close()

    async def decode(
        self, document: Any = None, key: str = "sk-alice", path: str = "/v1/chat/completions", **headers: str
    ) -> tuple[Exchange, Response | None]:
        content = document if isinstance(document, bytes) else orjson.dumps(MARKED if document is None else document)
        fields = {**({"Authorization": f"Bearer {key}"} if key else {}), **headers}
        exchange = make_exchange("POST", path, fields, content)
        return exchange, await self.filter.decode(exchange)

    async def answer(
        self, exchange: Exchange, document: Any = None, status: int = 200, model: str = "", end: str = "complete"
    ) -> Any:
        """The JSON that the client gets."""
        if model:
            exchange.attempts.append(Attempt("e", "a", "c", model=model))
        exchange.response = Response.json(status, ANSWER if document is None else document)
        await self.filter.encode(exchange)
        content = await collect(exchange.response.body)
        exchange.end_reason = end
        self.filter.done(exchange)
        return orjson.loads(content)

    async def usage(self, document: Any = None, key: str = "sk-alice", **options: Any) -> dict[str, Any]:
        """The usage that a request is told."""
        exchange, refused = await self.decode(document, key)
        assert refused is None
        said: dict[str, Any] = (await self.answer(exchange, **options))["usage"]
        return said


def split(usage: dict[str, Any]) -> tuple[int, int] | None:
    if "cache_read_input_tokens" not in usage:
        return None
    return usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]


# --- active, zero, inactive ------------------------------------------------------------------------------------------


async def test_the_second_request_reads_what_the_first_one_wrote() -> None:
    async with Bench() as bench:
        assert [split(await bench.usage()) for _ in range(2)] == [(0, 4), (4, 0)]
        assert bench.meters.requests.series == {("create_only",): 1, ("read",): 1}
        assert bench.meters.tokens.series == {("m", "write_5m"): 4, ("m", "read"): 4}


async def test_principals_share_nothing() -> None:
    async with Bench() as bench:
        assert split(await bench.usage()) == (0, 4)
        assert split(await bench.usage(key="sk-bob")) == (0, 4)


async def test_without_markers_an_enabled_model_tells_zeros() -> None:
    async with Bench() as bench:
        assert split(await bench.usage(chat(user(text("a"))))) == (0, 0)
        assert bench.meters.requests.series == {("zero",): 1}


@pytest.mark.parametrize("key", ["", "sk-unknown"])
async def test_an_unknown_key_is_left_alone(key: str) -> None:
    async with Bench() as bench:
        assert await bench.usage(key=key) == ANSWER["usage"]
        assert bench.meters.principals.series == {("unknown",): 1}


async def test_a_model_without_a_tariff_is_left_alone() -> None:
    async with Bench() as bench:
        exchange, refused = await bench.decode({**MARKED, "model": "free", "cache_control": "no marker"})
        assert refused is None
        assert (await bench.answer(exchange))["usage"] == ANSWER["usage"]


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/v1/completions", MARKED),
        ("/v1/embeddings", MARKED),
        ("/v1/chat/completions", b"no json"),
        ("/v1/chat/completions", b""),
        ("/v1/chat/completions", [MARKED]),
        ("/v1/chat/completions", {**MARKED, "model": 5}),
        ("/v1/chat/completions", {"messages": []}),
    ],
)
async def test_what_is_no_request_of_these_apis_is_left_alone(path: str, document: Any) -> None:
    async with Bench() as bench:
        exchange, refused = await bench.decode(document, path=path)
        assert (refused, exchange.params) == (None, {})
        assert await bench.answer(exchange) == ANSWER


async def test_a_body_above_the_limit_is_left_alone() -> None:
    async with Bench(max_body=10) as bench:
        exchange, refused = await bench.decode()
        assert (refused, exchange.params) == (None, {})


# --- refusals --------------------------------------------------------------------------------------------------------

BAD = chat(user(text("a", "24h")))


async def test_bad_markers_are_refused_with_the_tiers_there_are() -> None:
    async with Bench() as bench:
        _, refused = await bench.decode(BAD)
        assert refused is not None
        assert refused.status == 400
        assert orjson.loads(await collect(refused.body)) == {
            "error": {
                "message": "cache_control.ttl '24h' is not available here; use 5m, 1h",
                "type": "invalid_request_error",
                "code": "invalid_cache_control",
                "param": "cache_control",
            }
        }
        assert bench.meters.rejected.series == {("tier_disabled",): 1}


async def test_anthropic_clients_are_refused_in_their_shape() -> None:
    async with Bench() as bench:
        _, refused = await bench.decode(BAD, path="/v1/messages")
        assert refused is not None
        document = orjson.loads(await collect(refused.body))
        assert (document["type"], document["error"]["type"]) == ("error", "invalid_request_error")


async def test_only_who_is_known_is_refused_and_only_for_models_that_are_cached() -> None:
    """A stranger learns nothing about tiers, and is the business of whoever authenticates."""
    async with Bench() as bench:
        assert (await bench.decode(BAD, key="sk-unknown"))[1] is None
        assert (await bench.decode({**BAD, "model": "free"}))[1] is None


# --- what an answer earns --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "veto"),
    [
        ({"status": 500}, "no_usage"),
        ({"status": 400}, "no_usage"),
        ({"document": {"choices": []}}, "no_usage"),
        ({"document": {**ANSWER, "error": {"message": "x"}}}, "error_frame"),
        ({"end": "client_gone"}, "aborted"),
    ],
)
async def test_a_failure_earns_nothing(options: dict[str, Any], veto: str) -> None:
    async with Bench() as bench:
        exchange, _ = await bench.decode()
        await bench.answer(exchange, **options)
        assert bench.meters.commits.series == {}
        if options.get("status", 200) == 200:
            assert bench.meters.vetoes.series == {(veto,): 1}
        assert split(await bench.usage()) == (0, 4), "nothing was committed"


async def test_a_failed_answer_is_not_touched() -> None:
    async with Bench() as bench:
        exchange, _ = await bench.decode()
        assert await bench.answer(exchange, status=500) == ANSWER


async def test_a_client_that_leaves_takes_its_classification_with_it() -> None:
    async with Bench() as bench:
        exchange, _ = await bench.decode()
        account: Account = exchange.params[ACCOUNT]
        exchange.end_reason = "client_gone"
        bench.filter.done(exchange)
        await asyncio.sleep(0)
        assert account.task is not None
        assert account.task.cancelled()
        await asyncio.sleep(0)
        assert len(bench.filter._tasks) == 0


# --- the model that answers ------------------------------------------------------------------------------------------


async def test_the_scope_is_the_model_that_served() -> None:
    """A fallback to another model is classified for that one."""
    async with Bench() as bench:
        assert split(await bench.usage(model="n")) == (0, 4)
        assert split(await bench.usage(model="m")) == (0, 4)
        assert split(await bench.usage({**MARKED, "model": "n"})) == (4, 0)
        assert bench.meters.tokens.series[("n", "read")] == 4


async def test_a_fallback_to_a_model_that_is_not_cached_is_left_alone() -> None:
    async with Bench() as bench:
        assert await bench.usage(model="free") == ANSWER["usage"]
        assert bench.meters.requests.series == {("inactive",): 1}


async def test_the_models_of_a_plan_count_and_not_the_body() -> None:
    async with Bench() as bench:
        exchange = make_exchange(
            "POST", "/v1/chat/completions", {"x-api-key": "sk-alice"}, json={**MARKED, "model": "auto"}
        )
        plan_of(exchange).models = ("n", "free")
        assert await bench.filter.decode(exchange) is None
        assert split((await bench.answer(exchange, model="n"))["usage"]) == (0, 4)


# --- what is sent ----------------------------------------------------------------------------------------------------


async def test_markers_are_taken_out_whoever_asks() -> None:
    """An endpoint that does not know them must not see them, accounted for or not."""
    async with Bench() as bench:
        for key in ("sk-alice", "sk-unknown"):
            exchange, _ = await bench.decode(key=key)
            assert len(exchange.params[PLAN].edits) == 1
            bench.filter.done(exchange)


async def test_a_request_without_anything_to_change_has_no_plan() -> None:
    async with Bench() as bench:
        exchange, _ = await bench.decode(chat(user(text("a"))))
        assert PLAN not in exchange.params


async def test_a_stream_is_asked_for_its_usage_only_where_it_is_told() -> None:
    async with Bench() as bench:
        for key, asked in (("sk-alice", True), ("sk-unknown", False)):
            exchange, _ = await bench.decode(chat(user(text("a")), stream=True), key=key)
            assert (PLAN in exchange.params) is asked


async def test_bookkeeping_is_stripped_unless_it_is_to_stay() -> None:
    document = chat(system(text(BILLING), text("be good")))
    for strip in (True, False):
        async with Bench(telemetry_blocks={"strip_from_prompt": strip}) as bench:
            exchange, _ = await bench.decode(document)
            assert (PLAN in exchange.params) is strip


@pytest.mark.parametrize(
    ("config", "sent", "expected"),
    [
        ({}, "gzip, br", "identity"),
        ({"upstream_encoding": "any"}, "gzip, br", "gzip, br"),
        ({}, "", None),
    ],
)
async def test_endpoints_are_asked_for_plain_answers(config: Any, sent: str, expected: str | None) -> None:
    async with Bench(**config) as bench:
        exchange, _ = await bench.decode(**({"Accept-Encoding": sent} if sent else {}))
        assert exchange.request.headers.get("accept-encoding") == expected
        bench.filter.done(exchange)


# --- bounds ----------------------------------------------------------------------------------------------------------


async def test_too_many_classifications_cost_the_cache_and_not_the_request() -> None:
    async with Bench(max_classifying=1) as bench:
        first, _ = await bench.decode()
        second, _ = await bench.decode()
        assert split((await bench.answer(second))["usage"]) == (0, 0)
        assert split((await bench.answer(first))["usage"]) == (0, 4)
        assert bench.meters.degraded.series == {("busy",): 1}


async def test_scrubbing_is_for_answers_that_are_not_accounted_for() -> None:
    dirty = {**ANSWER, "usage": {**ANSWER["usage"], "prompt_tokens_details": {"cached_tokens": 7}}}  # type: ignore[dict-item]
    for config, left in (({}, 7), ({"scrub_inactive": True}, 0)):
        async with Bench(**config) as bench:
            exchange, _ = await bench.decode(key="sk-unknown")
            usage = (await bench.answer(exchange, dirty))["usage"]
            assert usage["prompt_tokens_details"]["cached_tokens"] == left
            assert "cache_read_input_tokens" not in usage


async def test_a_provider_with_a_cache_of_its_own_may_keep_its_word() -> None:
    own = {**ANSWER, "usage": {**ANSWER["usage"], "prompt_tokens_details": {"cached_tokens": 7}}}  # type: ignore[dict-item]
    async with Bench(provider_fields="keep") as bench:
        exchange, _ = await bench.decode()
        assert await bench.answer(exchange, own) == own
        assert split(await bench.usage()) == (4, 0), "it was earned all the same"


async def test_an_automatic_marker_and_a_null_one() -> None:
    async with Bench() as bench:
        assert split(await bench.usage(chat(user(text("a b c d e f")), cache_control=mark("1h")))) == (0, 3)
        assert split(await bench.usage(chat(user({**text("x" * 40), "cache_control": None})))) == (0, 0)


async def test_what_is_over_is_swept() -> None:
    """No index grows for ever."""
    async with Bench(sweep_interval="5ms") as bench:
        index = bench.filter._index
        await index.commit(Scope("alice", "m", "v"), [Write(b"h" * 32, 1, "5m")], [], now=0.0)
        async with asyncio.timeout(5):
            while await kept(index):
                await asyncio.sleep(0.005)  # the sweeper tells nobody
