"""The mock model filter without a gateway: ask it, and read its answers and streams."""

from __future__ import annotations

from typing import Any

import orjson

from pixiu_py.filters.llm.mock.filter import MockConfig, MockModel
from pixiu_py.http.exchange import Response
from tests.fakes.exchange import chunks_of, collect, make_context, make_exchange

HELLO: dict[str, Any] = {"model": "mock-small", "messages": [{"role": "user", "content": "Hello"}]}


def mock_model(**config: Any) -> MockModel:
    """A mock with these config keys."""
    return MockModel(MockConfig(**config), make_context())


async def post(model: MockModel, path: str, body: Any) -> Response:
    """Its answer to a JSON body."""
    return await model.decode(make_exchange("POST", path, json=body))


async def document(response: Response) -> Any:
    """The JSON of an answer."""
    return orjson.loads(await collect(response.body))


async def events(response: Response) -> list[tuple[str, Any]]:
    """(name, data) of each event of a stream, one per chunk; the data of ``[DONE]`` is that text."""
    assert response.headers.get("content-type") == "text/event-stream; charset=utf-8"
    return [_event(chunk.decode()) for chunk in await chunks_of(response.body)]


def _event(chunk: str) -> tuple[str, Any]:
    assert chunk.endswith("\n\n")
    assert chunk.count("\n\n") == 1, "one event per chunk"
    fields = dict(line.split(": ", 1) for line in chunk.splitlines() if line)
    data = fields["data"]
    return fields.get("event", ""), data if data == "[DONE]" else orjson.loads(data)
