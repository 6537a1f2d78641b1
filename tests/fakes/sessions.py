"""Gateways with a router that keeps sessions, for tests: two models, a decider that is told what to say, and any store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pixiu_py.filters.llm.router.conversation import Conversation
from pixiu_py.filters.llm.router.decider import Decider
from pixiu_py.filters.llm.router.model import Preference
from pixiu_py.registry import Family, plugin
from tests.fakes.conf import Block, conf, endpoint, http_filter, llm_conf
from tests.fakes.services import Service

ROUTER = "dgp.filter.llm.router"
AFFINITY = "x-model-affinity"


def make_decider() -> type[Decider]:
    """A decider of its own for one test: takes the route that the user names, and counts how often it is asked."""

    @plugin(Family.DECIDER, "told")
    class Told(Decider):
        """Takes the route whose name the latest words of the user begin with."""

        asked = 0

        def decide(self, conversation: Conversation, routes: Sequence[Preference]) -> str | None:
            """Count, and look."""
            Told.asked += 1
            last = conversation.last_user
            word = last.text.split(" ")[0] if last is not None else ""
            return next((route.name for route in routes if route.name == word), None)

    return Told


def mock_model(label: str) -> str:
    """A gateway that is the model ``label``, in every API."""
    return conf(filters=[http_filter("dgp.filter.llm.mock", models=[label], label=label)])


def router_conf(
    big: Any,
    small: Any,
    routing: Block | None = None,
    filters: Sequence[Block] = (),
    proxy: Block | None = None,
    **router: Any,
) -> str:
    """A gateway before two endpoints, one for each model: requests with ``code`` go to big, with ``talk`` to small.

    The decider has to be known: ``make_decider()``.
    """
    preferences = [
        {"name": "code", "description": "program code", "models": ["big", "small"]},
        {"name": "talk", "description": "small talk", "models": ["small", "big"]},
    ]
    block = {
        "default_model": "small",
        "routing_preferences": preferences,
        "deciders": [{"type": "told"}],
        "routing": routing or {},
        **router,
    }
    endpoints = [endpoint(big, "b", models=["big"]), endpoint(small, "s", models=["small"])]
    return llm_conf(*endpoints, proxy=proxy, filters=[*filters, http_filter(ROUTER, **block)])


def shared(redis: Service, **more: Any) -> Block:
    """The block of a store there, which is patient: this machine may be busy."""
    return {"type": "redis", "url": redis.url, "timeout": "5s", "connect_timeout": "5s", **more}


def says(api: str, text: str, *, stream: bool = False, tool: bool = False, model: str = "auto") -> tuple[str, Block]:
    """Path and body of a request of one API: ``text`` from the user; ``tool``: then a tool call and its result."""
    body: Block = {"model": model, "stream": stream}
    messages: list[Block] = [{"role": "user", "content": text}]
    if api == "responses":
        if tool:
            messages += [
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "1"},
            ]
        return "/v1/responses", {**body, "input": messages}
    if api == "messages":
        if tool:
            use = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
            result = {"type": "tool_result", "tool_use_id": "c", "content": "1"}
            messages += [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
        return "/v1/messages", {**body, "max_tokens": 100, "messages": messages}
    if tool:
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        messages += [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "1"},
        ]
    return "/v1/chat/completions", {**body, "messages": messages}
