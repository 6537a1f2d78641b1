"""Prompts and clients for tests against real engines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.engines.servers import MODEL, Engine
from tests.fakes.conf import Block, endpoint, http_filter, llm_conf
from tests.fakes.gateway import RunningGateway

#: Seconds for one answer of an engine that shares its cores with everything else.
PATIENCE = 120.0


def chat(seed: str, words: int = 260, *more: str) -> dict[str, Any]:
    """A chat whose first message is long, and differs from that of another seed from its first word on."""
    text = " ".join(f"{seed} import value{number}" for number in range(words))
    messages = [{"role": ("assistant", "user")[number % 2], "content": part} for number, part in enumerate(more)]
    return {"model": MODEL, "messages": [{"role": "user", "content": text}, *messages], "max_tokens": 4}


@dataclass
class Answer:
    """An answer, and what the gateway said about its choice."""

    status: int
    body: Any
    route: str

    @property
    def by(self) -> str:
        """The endpoint that answered."""
        return self.field("choice")

    def field(self, name: str) -> str:
        """A part of the explanation."""
        return next(part.partition("=")[2] for part in self.route.split("; ") if part.startswith(f"{name}="))

    def matched(self, endpoint_id: str) -> int:
        """Tokens that the index found at an endpoint."""
        part = next((part for part in self.route.split("; ") if part.startswith(f"{endpoint_id}(")), "matched=0 ")
        return int(part.partition("matched=")[2].split()[0])


class Gateway:
    """A client of a gateway in this process."""

    def __init__(self, session: aiohttp.ClientSession, running: RunningGateway) -> None:
        self._session = session
        self._url = running.url
        self._metrics = f"http://127.0.0.1:{running.ports['metrics']}/metrics"

    async def metric(self, name: str) -> float:
        """A sample by its name, with its labels; 0 when it is not there."""
        async with self._session.get(self._metrics) as response:
            lines = (await response.text()).splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name), 0.0)

    async def ask(self, document: dict[str, Any]) -> Answer:
        """One chat."""
        async with self._session.post(self._url + "/v1/chat/completions", json=document) as response:
            return Answer(response.status, await response.json(), response.headers.get("x-pixiu-route", ""))


def session() -> aiohttp.ClientSession:
    """Connections with the patience that engines need."""
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE))


def conf_for(engines: list[Engine], **kvcache: Any) -> str:
    """A gateway that routes between engines by cache; each falls back to the next."""
    endpoints = [endpoint(engine.port, engine.name, fallback=True, health_check_interval=1000) for engine in engines]
    keys: Block = {
        "enabled": True,
        "route_header": "always",
        "lookup_routing_timeout": "10s",
        "request_timeout": "10s",
        "token_cache": {"enabled": True, "max_size": 100, "ttl": "10m"},
        **kvcache,
    }
    top = {"metric": {"enable": True, "prometheus_port": 0}}
    return llm_conf(*endpoints, filters=[http_filter("dgp.filter.ai.kvcache", **keys)], top=top)


async def directly(engine: Engine, document: dict[str, Any]) -> Any:
    """Ask an engine itself: the gateway does not know of it."""
    return await asyncio.to_thread(engine.post, "/v1/chat/completions", document)


async def until(what: str, condition: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    """Wait for what another process does: it has no event of ours."""
    try:
        async with asyncio.timeout(seconds):
            while not await condition():
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"not within {seconds:g} s: {what}") from None
