"""Invariant: for any order of failures the client gets an answer from the list or the last failure; each model is tried once.

And: whatever a router model says, it is one of the routes, none, or an error of its own.
"""

from __future__ import annotations

import asyncio

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from pixiu_py.config.model import ServedModel
from pixiu_py.errors import GatewayError
from pixiu_py.filters.llm.plan import plan_of
from pixiu_py.filters.llm.proxy.filter import LlmProxy, LlmProxyConfig
from pixiu_py.filters.llm.router.answer import AnswerError, read_answer
from pixiu_py.http.exchange import Exchange
from tests.fakes.actions import close, reset
from tests.fakes.bodies import chat, error, error_sse
from tests.fakes.clusters import cluster_context, endpoint_config, make_cluster
from tests.fakes.exchange import collect, make_exchange
from tests.fakes.upstream import Action, Request, Upstream

MODELS = "abcdef"
#: What a model does with a request → the status of that, 0 for none, and whether it is the end of the list.
FATES: dict[str, tuple[Action, int, bool]] = {
    "well": (chat("fine"), 200, True),
    "client's fault": (error(400), 400, True),
    "unknown": (error(404), 404, True),
    "timeout": (error(408), 408, False),
    "busy": (error(429), 429, False),
    "broken": (error(500), 500, False),
    "away": (error(503), 503, False),
    "key": (error(401), 401, False),
    "reset": (reset(), 0, False),
    "closed": (close(), 0, False),
    "stream": (error_sse(code=502), 502, False),
}


async def walk(order: list[str], fates: dict[str, str]) -> tuple[int, list[str], bytes]:
    """One request with this list of models: its status, the models that were tried, its body."""

    def script(request: Request) -> Action:
        return FATES[fates[orjson.loads(request.body)["model"]]][0]

    async with Upstream(script) as upstream:
        endpoints = [
            endpoint_config(model, "127.0.0.1", upstream.port, models=[ServedModel(name=model)]) for model in MODELS
        ]
        context = cluster_context()
        proxy = LlmProxy(LlmProxyConfig(), context)
        exchange = make_exchange("POST", "/v1/chat/completions", json={"model": "auto", "messages": []})
        exchange.cluster = make_cluster(*endpoints, context=context)
        plan_of(exchange).models = tuple(order)
        status, body = await _answer(proxy, exchange)
        await proxy.close()
        return status, [orjson.loads(request.body)["model"] for request in upstream.requests], body


async def _answer(proxy: LlmProxy, exchange: Exchange) -> tuple[int, bytes]:
    try:
        response = await proxy.decode(exchange)
        return response.status, await collect(response.body)
    except GatewayError as failure:
        return failure.status, b""
    finally:
        proxy.done(exchange)


def expected(order: list[str], fates: dict[str, str]) -> tuple[int, list[str]]:
    """The status, and the models that are tried. Without any status it is a 502."""
    tried: list[str] = []
    status = 0
    for model in order:
        tried.append(model)
        _, told, ends = FATES[fates[model]]
        status = told or status
        if ends:
            break
    return status or 502, tried


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(MODELS), min_size=1, max_size=6, unique=True),
    st.fixed_dictionaries({model: st.sampled_from(sorted(FATES)) for model in MODELS}),
)
def test_any_order_of_failures(order: list[str], fates: dict[str, str]) -> None:
    """The first model that answers, or the last thing that was said; nobody outside the list, nobody twice."""
    if fates[order[-1]] == "stream":
        fates[order[-1]] = "broken"  # with nobody left its stream is handed on as it comes
    status, tried, body = asyncio.run(walk(order, fates))
    assert (status, tried) == expected(order, fates)
    if status == 200:
        assert orjson.loads(body)["choices"][0]["message"]["content"] == "fine"


NAMES = ["code", "small talk", "Bob's", "other"]
_SIGNS = ["}", "]", "[", "{", ",", ":", "'", '"', "\\", " ", "\n", "\\n", "“", "\ud800"]
_WORDS = [
    '{"route":',
    "{'route':",
    '["code"]',
    '"code"',
    "code",
    "```json",
    "```",
    "<think>",
    "</think>",
    "null",
    "Bob's",
]
PIECES = st.sampled_from([*_SIGNS, *_WORDS])


@given(st.lists(PIECES, max_size=10).map("".join) | st.text(max_size=40))
def test_any_answer_of_a_router_model(text: str) -> None:
    """A route, none, or an error: never a name that there is not, never another exception."""
    said = _read(text)
    assert said in {*NAMES, "", "error: nonsense", "error: unknown_route"}


def _read(text: str) -> str:
    try:
        return read_answer(text, NAMES)
    except AnswerError as failure:
        return f"error: {failure.kind}"
