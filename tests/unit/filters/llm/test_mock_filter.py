"""The mock's filter: paths, health, delays and failures."""

from typing import Any

import msgspec
import pytest

from pixiu_py.errors import BodyTooLarge
from pixiu_py.filters.llm.mock import filter as mock_filter
from pixiu_py.filters.llm.mock.filter import MockConfig, MockModel
from pixiu_py.http.body import RequestBody
from pixiu_py.registry import Family, Registry
from tests.fakes.exchange import collect, make_exchange
from tests.fakes.mock_model import HELLO, document, events, mock_model, post

CHAT = "/v1/chat/completions"


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, instead of making them."""
    made: list[float] = []

    async def sleep(seconds: float) -> None:
        made.append(seconds)

    monkeypatch.setattr(mock_filter.asyncio, "sleep", sleep)
    return made


def test_it_is_a_terminal_http_filter_of_its_kind() -> None:
    registry = Registry()
    registry.add_module(mock_filter)
    entry = registry.find(Family.HTTP_FILTER, "dgp.filter.llm.mock")
    assert entry is not None
    assert entry.cls is MockModel
    assert MockModel.terminal


async def test_health_is_200_with_an_empty_body() -> None:
    response = await mock_model().decode(make_exchange("GET", "/health"))
    assert (response.status, await collect(response.body)) == (200, b"")


async def test_the_list_of_models_is_the_configured_one() -> None:
    answer = await document(await mock_model(models=["a", "b"]).decode(make_exchange("GET", "/v1/models")))
    assert answer["object"] == "list"
    assert [(item["id"], item["object"]) for item in answer["data"]] == [("a", "model"), ("b", "model")]


@pytest.mark.parametrize("target", ["/health", "/v1/models"])
async def test_head_is_answered_like_get(target: str) -> None:
    """The writer leaves the body out."""
    get, head = [await mock_model().decode(make_exchange(method, target)) for method in ("GET", "HEAD")]
    assert (head.status, list(head.headers)) == (get.status, list(get.headers))


@pytest.mark.parametrize(
    ("method", "target", "status", "allow"),
    [
        ("GET", "/nope", 404, None),
        ("POST", "/", 404, None),
        ("POST", "/v1/models", 405, "GET, HEAD"),
        ("GET", CHAT, 405, "POST"),
        ("PUT", "/v1/embeddings", 405, "POST"),
    ],
)
async def test_what_is_not_there_is_answered_in_openais_shape(
    method: str, target: str, status: int, allow: str | None
) -> None:
    response = await mock_model().decode(make_exchange(method, target))
    error = (await document(response))["error"]
    assert (response.status, error["code"], response.headers.get("allow")) == (status, status, allow)
    assert set(error) == {"message", "type", "param", "code"}


async def test_the_query_does_not_matter() -> None:
    assert (await post(mock_model(), f"{CHAT}?api-version=1", HELLO)).status == 200


@pytest.mark.parametrize("body", [b"{bad", b"", b"[]", b'"text"'])
async def test_a_body_that_is_no_json_object_is_a_bad_request(body: bytes) -> None:
    response = await mock_model().decode(make_exchange("POST", CHAT, body=body))
    error = (await document(response))["error"]
    assert (response.status, error["type"], error["param"]) == (400, "BadRequestError", None)


async def test_a_body_that_could_not_be_read_is_left_to_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(self: RequestBody, limit: int) -> bytes:
        raise BodyTooLarge

    monkeypatch.setattr(RequestBody, "read", read)
    with pytest.raises(BodyTooLarge):
        await post(mock_model(), CHAT, HELLO)


async def test_every_answer_carries_the_label_and_the_configured_headers() -> None:
    model = mock_model(label="a", response_headers={"X-Extra": "1"})
    answers = [
        await model.decode(make_exchange("GET", "/health")),
        await model.decode(make_exchange("GET", "/nope")),
        await post(model, CHAT, HELLO),
        await post(model, CHAT, {**HELLO, "stream": True}),
    ]
    assert [answer.headers.get("x-mock-endpoint") for answer in answers] == ["a"] * 4
    assert [answer.headers.get("x-extra") for answer in answers] == ["1"] * 4


async def test_one_answers_headers_can_be_changed_without_touching_the_next() -> None:
    model = mock_model(label="a")
    first = await model.decode(make_exchange("GET", "/health"))
    first.headers.remove("x-mock-endpoint")
    second = await model.decode(make_exchange("GET", "/health"))
    assert second.headers.get("x-mock-endpoint") == "a"


async def test_the_reply_prefix_shows_which_endpoint_spoke() -> None:
    answer = await document(await post(mock_model(reply_prefix="[a]"), CHAT, HELLO))
    assert answer["choices"][0]["message"]["content"].startswith("[a] ")


async def test_the_delay_comes_before_the_answer_and_spares_health(naps: list[float]) -> None:
    model = mock_model(delay=0.5)
    await model.decode(make_exchange("GET", "/health"))
    assert naps == []
    await post(model, CHAT, {**HELLO, "stream": True})
    assert naps == [0.5]


async def test_a_stream_pauses_before_each_token(naps: list[float]) -> None:
    response = await post(mock_model(tokens=3, token_interval=0.25), CHAT, {**HELLO, "stream": True})
    assert naps == []
    await events(response)
    assert naps == [0.25] * 3


async def test_without_delay_and_interval_nothing_sleeps(naps: list[float]) -> None:
    await events(await post(mock_model(), CHAT, {**HELLO, "stream": True}))
    assert naps == []


async def test_the_same_seed_fails_the_same_requests() -> None:
    async def statuses(seed: int) -> list[int]:
        model = mock_model(failure_rate=0.5, seed=seed)
        return [(await post(model, CHAT, HELLO)).status for _ in range(32)]

    first = await statuses(1)
    assert set(first) == {200, 500}
    assert await statuses(1) == first
    assert await statuses(2) != first


async def test_a_failure_has_the_configured_status_and_retry_after() -> None:
    model = mock_model(failure_rate=1, failure_status=429, failure_retry_after=1.5)
    response = await post(model, CHAT, HELLO)
    assert (response.status, response.headers.get("retry-after")) == (429, "2")
    assert (await document(response))["error"]["type"] == "RateLimitError"


async def test_failures_spare_health_and_the_list_of_models() -> None:
    model = mock_model(failure_rate=1)
    for target in ("/health", "/v1/models"):
        assert (await model.decode(make_exchange("GET", target))).status == 200


async def test_a_fixed_status_answers_everything() -> None:
    model = mock_model(status=503)
    assert (await post(model, CHAT, HELLO)).status == 503
    health = await model.decode(make_exchange("GET", "/health"))
    assert health.status == 503
    assert health.headers.get("retry-after") is None


@pytest.mark.parametrize(
    "config",
    [
        {"failure_rate": 1.1},
        {"failure_status": 200},
        {"status": 99},
        {"status": 204},
        {"tokens": 0},
        {"embedding_dimensions": 5000},
        {"response_headers": {"x": "a\r\nb: c"}},
        {"label": "a\nb"},
        {"unknown": 1},
    ],
)
def test_a_config_that_makes_no_sense_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(config, MockConfig)
