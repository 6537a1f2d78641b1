"""llama-server as an engine that tells nothing: the ``prefix`` index needs nothing of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import orjson
import pytest
import pytest_asyncio

from pixiu_py.filters.ai.kvcache.scrape import load_of
from pixiu_py.filters.llm.engine_tokens import Tokenizer, tokenize_request
from pixiu_py.upstream.client import Client, service_at
from tests.conftest import StartGateway
from tests.engines.ask import Gateway, chat, conf_for, session
from tests.engines.servers import Engine, llama_server


@pytest.fixture(scope="module")
def engines(logs: Path) -> Iterator[list[Engine]]:
    """Two of them."""
    made = [llama_server(logs, name=name) for name in ("llama-a", "llama-b")]
    try:
        yield [engine.start() for engine in made]
    finally:
        for engine in made:
            engine.stop()


@pytest_asyncio.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """Connections to gateways."""
    async with session() as made:
        yield made


def cached(engine: Engine) -> float:
    """Prompt tokens that an engine has taken from its cache so far."""
    return engine.metric("llamacpp:prompt_tokens_cached_total")


async def test_conversations_stay_where_they_are_cached(
    engines: list[Engine], gateway: StartGateway, client: aiohttp.ClientSession
) -> None:
    """Four of them, growing turn by turn, two on each engine: the engines say that they did not compute it again."""
    asked = Gateway(client, await gateway(conf_for(engines, index={"type": "prefix"})))
    before = sum(map(cached, engines))
    turns: dict[str, list[str]] = {f"talk{number}": [] for number in range(4)}
    places: dict[str, list[str]] = {seed: [] for seed in turns}
    for _ in range(3):
        for seed, said in turns.items():
            answer = await asked.ask(chat(seed, 100, *said))
            assert answer.status == 200
            places[seed].append(answer.by)
            said += [answer.body["choices"][0]["message"]["content"] or "?", "go on"]
    assert all(len(set(each)) == 1 for each in places.values()), places
    assert sorted(each[0] for each in places.values()) == ["llama-a", "llama-a", "llama-b", "llama-b"]
    assert sum(map(cached, engines)) - before >= 4 * 2 * 300


async def test_its_tokenizer_and_its_metrics_are_understood(engines: list[Engine]) -> None:
    """Its own dialect is found out; the tokens are those of its template."""
    document = chat("tokens", 10)
    request = tokenize_request(document, orjson.dumps(document))
    assert request is not None
    calls, engine = Client(), service_at(engines[0].url)
    try:
        tokens = await Tokenizer(calls).tokens(engine, request, "tiny", 10.0)
        plain = await asyncio.to_thread(engines[0].post, "/tokenize", {"content": "tokens import value0"})
        load = load_of((await calls.get(engine, "/metrics", 10.0)).decode(), 0.0)
    finally:
        await calls.close()
    assert len(tokens) > 10
    assert plain["tokens"][0] in tokens
    assert load is not None
    assert (load.running, load.waiting) == (0, 0)


async def test_an_engine_killed_the_other_answers(
    engines: list[Engine], gateway: StartGateway, client: aiohttp.ClientSession
) -> None:
    """Every request, whoever held its prompt."""
    asked = Gateway(client, await gateway(conf_for(engines, index={"type": "prefix"})))
    documents = [chat(f"kill{number}", 100) for number in range(4)]
    by = {(await asked.ask(document)).by for document in documents}
    assert by == {"llama-a", "llama-b"}
    engines[1].kill()
    answers = [await asked.ask(document) for document in documents * 3]
    assert [(answer.status, answer.by) for answer in answers] == [(200, "llama-a")] * 12
