"""Asking a router model: what it is sent, what its answers mean, and that it is left alone after failures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from pixiu_py.clusters.manager import ClusterManager
from pixiu_py.config.model import Cluster as ClusterConfig
from pixiu_py.config.model import ServedModel
from pixiu_py.config.types import Secret
from pixiu_py.errors import StartError
from pixiu_py.filters.llm.router.conversation import Conversation, Message
from pixiu_py.filters.llm.router.decider import NO_ROUTE, DeciderError
from pixiu_py.filters.llm.router.llm import LlmDecider
from pixiu_py.filters.llm.router.model import Preference, RouterModel
from tests.fakes.actions import respond, stall
from tests.fakes.bodies import chat, error, rate_limited
from tests.fakes.clusters import cluster_context, endpoint_config
from tests.fakes.exchange import make_context
from tests.fakes.upstream import Action, Upstream
from tests.fakes.walk import Clock

ROUTES = [Preference(name=name, description=name, models=["m"]) for name in ("code", "chat")]
HELLO = Conversation("x", (Message("user", "hello"),))


def body(document: Any) -> Action:
    """An answer with this document."""
    return respond(200, body=orjson.dumps(document))


async def ask(script: Action | Sequence[Action], conversation: Conversation = HELLO, **config: Any) -> str | None:
    """What the model's answer comes to."""
    async with Upstream(script) as upstream:
        decider = LlmDecider(RouterModel(endpoint=f"http://127.0.0.1:{upstream.port}/v1", **config), make_context())
        await decider.start()
        try:
            return await decider.decide(conversation, ROUTES)
        finally:
            await decider.close()


async def test_question() -> None:
    """A chat completion without surprises, with the key and the model of the configuration."""
    async with Upstream(chat('{"route": ["chat"]}')) as upstream:
        config = RouterModel(
            endpoint=f"http://127.0.0.1:{upstream.port}/v1/", model="tiny", api_key=Secret("k"), max_tokens=20
        )
        decider = LlmDecider(config, make_context())
        assert await decider.decide(HELLO, ROUTES) == "chat"
        await decider.close()
        sent = orjson.loads(upstream.request.body)
    assert upstream.request.target == "/v1/chat/completions"
    assert upstream.request.header("authorization") == b"Bearer k"
    (message,) = sent.pop("messages")
    assert sent == {"model": "tiny", "temperature": 0, "max_tokens": 20}
    assert message["role"] == "user"
    assert '{"role":"user","content":"hello"}' in message["content"]


async def test_structured_question_names_the_routes() -> None:
    """And nothing else may be answered."""
    async with Upstream(chat('{"route":["code"]}')) as upstream:
        decider = LlmDecider(RouterModel(endpoint=f"http://{upstream.address}/v1", structured=True), make_context())
        assert await decider.decide(HELLO, ROUTES) == "code"
        await decider.close()
        asked = orjson.loads(upstream.request.body)["response_format"]
    assert asked["type"] == "json_schema"
    assert asked["json_schema"]["schema"]["properties"]["route"]["items"]["enum"] == ["code", "chat"]


@pytest.mark.parametrize("content", ['{"route": []}', "", None, "other"])
async def test_no_route(content: Any) -> None:
    """Also when the model says nothing at all."""
    assert await ask(body({"choices": [{"message": {"content": content}}]})) == NO_ROUTE


async def test_content_may_come_in_parts() -> None:
    parts = [{"type": "text", "text": '{"route":'}, {"type": "text", "text": ' "code"}'}, "?"]
    assert await ask(body({"choices": [{"message": {"content": parts}}]})) == "code"


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (error(500), "status_500"),
        (error(401), "status_401"),
        (respond(200, body=b"<html>"), "nonsense"),
        (body({"choices": []}), "nonsense"),
        (body([]), "nonsense"),
        (chat("I like code"), "nonsense"),
        (chat('{"route": "weather"}'), "unknown_route"),
        (chat("x" * 70_000), "too_large"),
        (stall(), "timeout"),
    ],
)
async def test_failure_has_a_kind(action: Action, kind: str) -> None:
    """It is counted by it."""
    with pytest.raises(DeciderError) as caught:
        await ask(action, timeout=0.05 if kind == "timeout" else 5.0)
    assert caught.value.kind == kind


async def test_nothing_to_show_is_no_call() -> None:
    """A conversation without a word costs nothing."""
    assert await ask([], Conversation("x", (Message("user", "", attached=True),))) is None


async def test_after_failures_it_is_left_alone_for_a_while() -> None:
    """A model that hangs must not slow down every request; what is the question's fault is not held against it."""
    clock = Clock()
    script = [error(400), error(500), error(500), chat("code")]
    async with Upstream(script) as upstream:
        config = RouterModel(endpoint=f"http://127.0.0.1:{upstream.port}/v1", failure_threshold=2, cooldown=5.0)
        decider = LlmDecider(config, make_context(clock))
        kinds = []
        for _ in range(4):
            with pytest.raises(DeciderError) as caught:
                await decider.decide(HELLO, ROUTES)
            kinds.append(caught.value.kind)
        assert kinds == ["status_400", "status_500", "status_500", "resting"]
        clock.now += 5.0
        assert await decider.decide(HELLO, ROUTES) == "code"
        await decider.close()


async def test_model_that_is_asked_too_often_is_left_alone_at_once() -> None:
    """A 429 is a wish for a rest, and no failure."""
    clock = Clock()
    async with Upstream([rate_limited(), chat("code")]) as upstream:
        config = RouterModel(endpoint=f"http://127.0.0.1:{upstream.port}/v1", failure_threshold=9, cooldown=5.0)
        decider = LlmDecider(config, make_context(clock))
        for kind in ("status_429", "resting"):
            with pytest.raises(DeciderError) as caught:
                await decider.decide(HELLO, ROUTES)
            assert caught.value.kind == kind
        clock.now += 5.0
        assert await decider.decide(HELLO, ROUTES) == "code"
        await decider.close()


async def test_cluster() -> None:
    """Its endpoints take turns; each gets its own key and its own name for the model."""
    async with Upstream(chat("code")) as one, Upstream(chat("chat")) as two:
        context = cluster_context()
        context.clusters = ClusterManager()
        names = [ServedModel(name="router", upstream="tiny-1b")]
        endpoints = [
            endpoint_config("one", "127.0.0.1", one.port, api_key=Secret("first"), models=names),
            endpoint_config("two", "127.0.0.1", two.port, models=names),
            endpoint_config("other", "127.0.0.1", 1, models=[ServedModel(name="big")]),
        ]
        context.clusters.build([ClusterConfig(name="routers", type="Static", endpoints=endpoints)], context)
        await context.clusters.start()
        decider = LlmDecider(RouterModel(cluster="routers"), context)
        await decider.start()
        assert [await decider.decide(HELLO, ROUTES) for _ in range(4)] == ["chat", "code", "chat", "code"]
        await decider.close()
        await context.clusters.close()
    assert one.requests[0].header("authorization") == b"Bearer first"
    assert two.requests[0].header("authorization") is None
    assert orjson.loads(two.requests[0].body)["model"] == "tiny-1b"


async def test_cluster_that_is_not_there_stops_the_start() -> None:
    decider = LlmDecider(RouterModel(cluster="gone"), make_context(clusters=ClusterManager()))
    with pytest.raises(StartError, match="gone"):
        await decider.start()
