"""The filter: finds the API of a path, fails when it is told to, and paces what the model says."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

from msgspec import Meta, field

from pixiu_py.config.types import Duration, Model, doc
from pixiu_py.errors import DownstreamError
from pixiu_py.filters.base import Context, HttpFilter
from pixiu_py.filters.llm.mock import embeddings, openai
from pixiu_py.filters.llm.mock.anthropic import Messages
from pixiu_py.filters.llm.mock.api import Api, Document, Stamp
from pixiu_py.filters.llm.mock.ask import Ask, AskError
from pixiu_py.filters.llm.mock.model import Completion, complete
from pixiu_py.filters.llm.mock.responses import Responses
from pixiu_py.http.body import GeneratorBody
from pixiu_py.http.exchange import Exchange, Response
from pixiu_py.http.headers import Headers, encode
from pixiu_py.http.local_reply import retry_after
from pixiu_py.registry import Family, plugin

EMBEDDINGS = "/v1/embeddings"
MODELS = "/v1/models"
HEALTH = "/health"

#: The APIs that generate text; embeddings are apart, because they do not stream.
APIS: dict[str, Api] = {
    "/v1/chat/completions": openai.Chat(),
    "/v1/completions": openai.Completions(),
    "/v1/responses": Responses(),
    "/v1/messages": Messages(),
}

#: The one method of each path.
METHODS = {**dict.fromkeys((*APIS, EMBEDDINGS), ("POST",)), **dict.fromkeys((MODELS, HEALTH), ("GET", "HEAD"))}

Status = Annotated[int, Meta(ge=400, le=599)]


class MockConfig(Model, frozen=True):
    """Which models there are, how long they talk, how slow they are and how often they fail."""

    models: Annotated[list[str], doc("Models there are; another one is answered 404. Empty: any name will do.")] = (
        field(default_factory=lambda: ["mock-small", "mock-big"])
    )
    label: Annotated[str, doc("Sent in the x-mock-endpoint header of every answer, to tell endpoints apart.")] = ""
    reply_prefix: Annotated[str, doc("First token of every reply.")] = ""
    tokens: Annotated[int, Meta(ge=1, le=32_768, description="Tokens of a reply, unless the client asks for less.")] = (
        16
    )
    embedding_dimensions: Annotated[int, Meta(ge=1, le=4096, description="Length of an embedding.")] = 8
    delay: Annotated[Duration, doc("Wait before the first byte of an answer of the model.")] = 0.0
    token_interval: Annotated[Duration, doc("Wait before each token of a stream.")] = 0.0
    failure_rate: Annotated[float, Meta(ge=0, le=1, description="Share of the requests to the model that fail.")] = 0.0
    failure_status: Annotated[Status, doc("Status of those failures.")] = 500
    failure_retry_after: Annotated[Duration, doc("Failures ask to wait this long (Retry-After); 0: they do not.")] = 0.0
    seed: Annotated[int, doc("Which requests fail: the same seed fails the same ones.")] = 0
    status: Annotated[
        int, Meta(ge=200, le=599, description="Not 200: every request, health included, is answered with this status.")
    ] = 200
    response_headers: Annotated[dict[str, str], doc("Header fields added to every answer.")] = {}

    def __post_init__(self) -> None:
        if 200 < self.status < 400:  # some of these have no body, none of them has an error in it
            raise ValueError(f"status is 200 or an error, not {self.status}")
        _fields(self)  # a field that would split the head is refused when the file is read


@plugin(Family.HTTP_FILTER, "dgp.filter.llm.mock")
class MockModel(HttpFilter):
    """A language model without a model: answers OpenAI and Anthropic requests with a fixed passage."""

    Config = MockConfig
    terminal = True

    def __init__(self, config: MockConfig, context: Context) -> None:
        super().__init__(config, context)
        self._failures = random.Random(config.seed)
        self._fields = _fields(config)
        self._started = int(time.time())

    async def decode(self, exchange: Exchange) -> Response:
        """Always an answer."""
        method, path = exchange.request.method, exchange.request.path
        api = APIS.get(path)
        if self.config.status != 200:
            return self._failure(api, self.config.status)
        allowed = METHODS.get(path)
        if allowed is None:
            return self._error(None, AskError(404, f"There is no {encode(path).decode('utf-8', 'replace')} here."))
        if method not in allowed:
            response = self._error(api, AskError(405, f"{method} is not allowed on {path}; use {allowed[0]}."))
            response.headers.set("Allow", ", ".join(allowed))
            return response
        if path == HEALTH:
            return Response(200, Headers(self._fields))
        if path == MODELS:
            return self._json(200, openai.models(self.config.models, self._started))
        return await self._generate(exchange, api)

    async def _generate(self, exchange: Exchange, api: Api | None) -> Response:
        if self.config.delay:
            await asyncio.sleep(self.config.delay)
        if self.config.failure_rate and self._failures.random() < self.config.failure_rate:
            return self._failure(api, self.config.failure_status)
        try:
            document = await exchange.request.json()
            return self._answer(api, api.parse(document)) if api is not None else self._embed(document)
        except DownstreamError as error:
            if type(error) not in (AskError, DownstreamError):
                raise  # a body too large, too slow or broken off is the gateway's to answer
            return self._error(api, error)

    def _answer(self, api: Api, ask: Ask) -> Response:
        completions = self._complete(ask)
        stamp = Stamp(f"{self.context.random.getrandbits(64):016x}", int(time.time()), self._model(ask.model))
        if not ask.stream:
            return self._json(200, api.reply(ask, stamp, completions))
        headers = Headers([(b"Content-Type", b"text/event-stream; charset=utf-8"), *self._fields])
        return Response(200, headers, GeneratorBody(self._paced(api.events(ask, stamp, completions))))

    def _complete(self, ask: Ask) -> list[Completion]:
        config: MockConfig = self.config
        return [
            complete(prompt, config.tokens, ask.limit, ask.stops, config.reply_prefix, choice)
            for prompt in ask.prompts
            for choice in range(ask.choices)
        ]

    def _embed(self, document: Any) -> Response:
        ask = embeddings.parse(document, self.config.embedding_dimensions)
        return self._json(200, embeddings.reply(ask, self._model(ask.model)))

    async def _paced(self, events: Iterator[bytes]) -> AsyncIterator[bytes]:
        interval = self.config.token_interval
        for event in events:
            if event:
                yield event
            elif interval:
                await asyncio.sleep(interval)

    def _model(self, name: str) -> str:
        """The model to answer as. Raises ``AskError`` for one that is not there."""
        models: list[str] = self.config.models
        if not name:
            return models[0] if models else "mock"
        if not models or name in models:
            return name
        raise AskError(404, f"The model `{name}` does not exist. Valid aliases: {', '.join(models)}.", "model")

    def _failure(self, api: Api | None, status: int) -> Response:
        response = self._error(api, AskError(status, f"The mock was told to answer {status}."))
        if self.config.failure_retry_after:
            response.headers.set("Retry-After", retry_after(self.config.failure_retry_after))
        return response

    def _error(self, api: Api | None, error: DownstreamError) -> Response:
        write = api.error if api is not None else openai.error
        return self._json(error.status, write(error.status, error.detail, getattr(error, "param", None)))

    def _json(self, status: int, document: Document) -> Response:
        response = Response.json(status, document)
        response.headers = Headers([*response.headers.raw, *self._fields])
        return response


def _fields(config: MockConfig) -> list[tuple[bytes, bytes]]:
    """The header fields that every answer carries. Raises ``ValueError`` for one that would split the head."""
    headers = Headers()
    for name, value in config.response_headers.items():
        headers.add(name, value)
    if config.label:
        headers.add("x-mock-endpoint", config.label)
    return list(headers.raw)
