"""The decision endpoint: Plano's answer, for every case, and nothing that is not an answer."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from pixiu_py.filters.llm.router.affinity import Session
from pixiu_py.filters.llm.router.choice import Choice
from pixiu_py.filters.llm.router.decision import document, trace_id
from pixiu_py.http.exchange import Exchange, Response
from pixiu_py.http.headers import decode
from tests.fakes.exchange import make_exchange
from tests.fakes.router import CODE, started

PATH = "/routing/v1/chat/completions"
TRACE = "0af7651916cd43dd8448eb211c80319c"


def ask(text: str = "some code", path: str = PATH, headers: dict[str, str] | None = None, **body: Any) -> Exchange:
    """A question for a decision."""
    return make_exchange("POST", path, headers, json={"messages": [{"role": "user", "content": text}], **body})


async def answer(exchange: Exchange, config: dict[str, Any] = CODE) -> Response:
    """What the filter answers by itself."""
    async with started(config) as router:
        response = await router.decode(exchange)
    assert response is not None
    return response


async def decision(exchange: Exchange, config: dict[str, Any] = CODE) -> dict[str, Any]:
    """The decision, which must be one."""
    response = await answer(exchange, config)
    assert response.status == 200
    assert isinstance(response.body, bytes)
    found: dict[str, Any] = orjson.loads(response.body)
    return found


def error_of(response: Response) -> dict[str, Any]:
    """What a refusal says, in Plano's envelope."""
    assert isinstance(response.body, bytes)
    document: dict[str, dict[str, Any]] = orjson.loads(response.body)
    assert list(document) == ["error"]
    return document["error"]


@pytest.mark.parametrize("path", ["chat/completions", "messages", "responses"])
async def test_ranked_models_and_their_route(path: str) -> None:
    """In every API; without a session there is no session_id."""
    headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    assert await decision(ask(path=f"/routing/v1/{path}", headers=headers)) == {
        "models": ["big", "small"],
        "route": "code",
        "trace_id": TRACE,
        "pinned": False,
        "switched": False,
    }


async def test_no_route() -> None:
    """The client is to use its own model; the default is for requests that are proxied."""
    found = await decision(ask("hello", model="x"), {**CODE, "default_model": "small"})
    assert (found["models"], found["route"], found["fallback_reason"]) == (["none"], None, "no_match")


async def test_routes_of_the_request() -> None:
    own = [{"name": "code", "description": "", "models": ["tiny"]}]
    assert (await decision(ask(routing_preferences=own)))["models"] == ["tiny"]
    assert (await decision(ask(routing_preferences=[])))["fallback_reason"] == "no_preferences"


def test_session() -> None:
    """A pin that stands is the one model; a name that the client did not give is not told."""
    session = Session("s1", "key")
    held = document(Choice(("big", "small"), "code", session=session, pinned=True, held=True), TRACE)
    assert (held["models"], held["pinned"], held["session_id"]) == (["big"], True, "s1")
    switched = document(Choice(("big", "small"), "code", session=session, pinned=True, switched=True), TRACE)
    assert (switched["models"], switched["switched"]) == (["big", "small"], True)
    assert "session_id" not in document(Choice(("big",), "code", session=Session("", "key")), TRACE)


@pytest.mark.parametrize(
    ("sent", "told"),
    [(b"caf\xc3\xa9", "café"), (b"caf\xe9", "caf\ufffd"), (b'a"b', 'a"b'), (b"s" * 10_000, "s" * 10_000)],
)
async def test_any_name_of_a_session_can_be_told(sent: bytes, told: str) -> None:
    """Clients may put any bytes into a header, and JSON has to be UTF-8."""
    exchange = ask(headers={"X-Model-Affinity": decode(sent)})
    assert (await decision(exchange, {**CODE, "routing": {}}))["session_id"] == told


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3"])
async def test_what_is_no_object_is_refused(body: bytes) -> None:
    response = await answer(make_exchange("POST", PATH, body=body))
    assert response.status == 400
    assert error_of(response) == {
        "code": "InvalidRequest",
        "message": "Invalid request",
        "details": {"reason": "the request body is no JSON object"},
    }


async def test_other_methods_and_paths() -> None:
    """The endpoint has three paths and one method; its prefix is the configuration's, and may be none."""
    response = await answer(make_exchange("GET", PATH))
    assert (response.status, response.headers.get("allow")) == (405, "POST")
    assert error_of(response)["code"] == "MethodNotAllowed"
    response = await answer(ask(path="/routing/v1/embeddings"))
    assert (response.status, error_of(response)["code"]) == (404, "NotFound")
    assert (await decision(ask(path="/which/v1/messages"), {**CODE, "decision_path": "/which/"}))["route"] == "code"
    async with started({**CODE, "decision_path": ""}) as router:
        assert await router.decode(ask()) is None


@pytest.mark.parametrize("given", ["", "00", "x" * 55, f"00-{'0' * 32}-b7ad6b7169203331-01", f"{TRACE}-1"])
def test_trace_that_cannot_be_read_is_a_new_one(given: str) -> None:
    """32 hexadecimal digits, not all of them zero."""
    found = trace_id(given, random.Random(1))
    assert len(found) == 32
    assert int(found, 16)
    assert found != trace_id(given, random.Random(2))
