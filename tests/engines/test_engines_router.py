"""A real language model as the router model."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import orjson
import pytest

from pixiu_py.filters.llm.router.answer import read_answer
from pixiu_py.filters.llm.router.conversation import read_conversation
from pixiu_py.filters.llm.router.model import Preference
from pixiu_py.filters.llm.router.prompt import build_prompt
from tests.conftest import StartGateway
from tests.engines.ask import session
from tests.engines.servers import MODEL, Engine
from tests.fakes.conf import Block, endpoint, http_filter, llm_conf
from tests.fakes.gateway import RunningGateway
from tests.fakes.sessions import ROUTER, mock_model

ROUTES: list[Block] = [
    {"name": "code", "description": "writing or fixing program code", "models": ["big", "small"]},
    {"name": "talk", "description": "greetings and small talk", "models": ["small", "big"]},
]
TEXTS = ["Please fix this Python function.", "Hello, how are you today?", "x" * 20_000]


async def routed(gateway: StartGateway, llama: Engine, **router: Any) -> RunningGateway:
    """A gateway between two mock models, whose router model is the engine."""
    big, small = await gateway(mock_model("big")), await gateway(mock_model("small"))
    block = {"endpoint": f"{llama.url}/v1", "model": MODEL, "timeout": "60s", "max_tokens": 120, **router}
    filters = [http_filter(ROUTER, default_model="small", routing_preferences=ROUTES, router=block)]
    top = {"metric": {"enable": True, "prometheus_port": 0}}
    models = [endpoint(port, name, models=[name]) for port, name in ((big.port, "big"), (small.port, "small"))]
    return await gateway(llm_conf(*models, filters=filters, top=top))


async def counted(running: RunningGateway, client: aiohttp.ClientSession) -> dict[str, float]:
    """What the decider has answered, and how often."""
    async with client.get(f"http://127.0.0.1:{running.ports['metrics']}/metrics") as response:
        lines = (await response.text()).splitlines()
    head = 'pixiu_router_decider_answers_total{decider="llm",answer="'
    return {line[len(head) :].split('"')[0]: float(line.split()[-1]) for line in lines if line.startswith(head)}


@pytest.mark.parametrize("text", TEXTS, ids=["code", "talk", "long"])
async def test_its_answer_decides(llama: Engine, gateway: StartGateway, text: str) -> None:
    """The route that the engine names when it is asked the same directly is the route that serves."""
    running = await routed(gateway, llama, structured=True, max_prompt_tokens=400)
    document = {"messages": [{"role": "user", "content": text}]}
    async with session() as client:
        async with client.post(f"{running.url}/v1/chat/completions", json=document) as response:
            assert response.status == 200
            route, model = response.headers.get("x-pixiu-route-name", ""), response.headers["x-pixiu-model"]
        assert set(await counted(running, client)) <= {"route", "no_route"}
    preferences = [Preference(**route) for route in ROUTES]
    prompt = build_prompt(preferences, read_conversation(document), 400, 16)
    names = [route["name"] for route in ROUTES]
    array = {"type": "array", "items": {"type": "string", "enum": names}, "maxItems": 1}
    schema = {"type": "object", "properties": {"route": array}, "required": ["route"], "additionalProperties": False}
    question = {
        "model": MODEL,
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        "max_tokens": 120,
        "response_format": {"type": "json_schema", "json_schema": {"name": "route", "strict": True, "schema": schema}},
    }
    answer = await asyncio.to_thread(llama.post, "/v1/chat/completions", question)
    assert read_answer(answer["choices"][0]["message"]["content"], names) == route
    assert model == {"code": "big", "talk": "small", "": "small"}[route]


async def test_whatever_it_says_the_request_is_served(llama: Engine, gateway: StartGateway) -> None:
    """A model this small says anything: its answers are counted, by kind, and never are the client's problem."""
    running = await routed(gateway, llama)
    async with session() as client:
        for text in TEXTS:
            content = orjson.dumps({"messages": [{"role": "user", "content": text}]})
            headers = {"content-type": "application/json"}
            async with client.post(f"{running.url}/v1/chat/completions", data=content, headers=headers) as response:
                assert response.status == 200
        answers = await counted(running, client)
    assert sum(answers.values()) == len(TEXTS)
    assert set(answers) <= {"route", "no_route", "nonsense", "unknown_route", "status_400"}  # the last is its context
