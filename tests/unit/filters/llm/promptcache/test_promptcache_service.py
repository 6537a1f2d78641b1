"""Counts by a tokenizer service: its protocol, its failures, and what is remembered of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
import pytest_asyncio

from pixiu_py.filters.llm.promptcache import service
from pixiu_py.filters.llm.promptcache.count import CountFailed
from pixiu_py.filters.llm.promptcache.service import ServiceCounter
from tests.fakes.actions import respond
from tests.fakes.upstream import Action, Request, Script, Upstream

MODELS = {
    "models": [{"alias": "m", "hf_repo": "r", "tokenizer_version": "v1"}, {"alias": "n", "tokenizer_version": "v2"}]
}


def answer(document: Any, status: int = 200) -> Action:
    return respond(status, body=orjson.dumps(document))


class Bench:
    """A scripted service, its counter, and a clock that moves when it is told to."""

    def __init__(self, upstream: Upstream) -> None:
        self.now = 0.0
        self.lookups: list[str] = []
        self.upstream = upstream
        self.counter = ServiceCounter(f"http://{upstream.address}/", 5.0, lambda: self.now, self.lookups.append)


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Callable[..., Any]]:
    opened: list[tuple[Upstream, Bench]] = []

    async def start(script: Script) -> Bench:
        upstream = Upstream(script)
        await upstream.__aenter__()
        made = Bench(upstream)
        await made.counter.start()
        opened.append((upstream, made))
        return made

    yield start
    for upstream, made in opened:
        await made.counter.close()
        await upstream.__aexit__(None, None, None)


async def test_segments_are_counted_in_one_call(bench: Callable[..., Any]) -> None:
    it = await bench(
        [answer({"segment_counts": [2, 0, 3], "cumulative": [2, 2, 5], "total": 5, "tokenizer_version": "x"})]
    )
    assert await it.counter.segments("m", ["a", "", "b"]) == [2, 0, 3]
    request = it.upstream.request
    assert (request.method, request.target) == ("POST", "/v1/tokenize")
    assert orjson.loads(request.body) == {"virtual_model": "m", "segments": ["a", "", "b"]}


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (answer({"error": {"code": "UNMAPPED_MODEL"}}, 422), "tokenizer_unmapped"),
        (answer({"error": "other"}, 422), "tokenize_failed"),
        (answer({}, 503), "tokenize_failed"),
        (answer({"total": 5}), "tokenize_failed"),
        (answer({"segment_counts": [-1]}), "tokenize_failed"),
        (answer({"segment_counts": ["1"]}), "tokenize_failed"),
        (respond(body=b"no json"), "tokenize_failed"),
    ],
)
async def test_what_is_no_count_is_a_failure(bench: Callable[..., Any], action: Action, reason: str) -> None:
    it = await bench([action])
    with pytest.raises(CountFailed) as failed:
        await it.counter.segments("m", ["a"])
    assert failed.value.reason == reason


async def test_the_list_of_models_is_fetched_once_for_all(bench: Callable[..., Any]) -> None:
    it = await bench([answer(MODELS)])
    assert [await it.counter.version(model) for model in ("m", "n", "m")] == ["v1", "v2", "v1"]
    assert it.lookups == ["miss", "hit", "hit"]
    assert (it.upstream.request.method, it.upstream.request.target) == ("GET", "/v1/models")


async def test_a_version_is_asked_for_again_after_a_while(bench: Callable[..., Any]) -> None:
    changed = {"models": [{"alias": "m", "tokenizer_version": "v9"}]}
    it = await bench([answer(MODELS), answer(changed)])
    assert await it.counter.version("m") == "v1"
    it.now = service.MEMO_TTL
    assert await it.counter.version("m") == "v9"


async def test_that_a_model_is_unknown_is_remembered_as_long(bench: Callable[..., Any]) -> None:
    it = await bench([answer(MODELS), answer(MODELS)])
    assert [await it.counter.version("other") for _ in range(3)] == [None, None, None]
    assert len(it.upstream.requests) == 1
    it.now = service.MEMO_TTL
    assert await it.counter.version("other") is None
    assert len(it.upstream.requests) == 2


async def test_a_failure_is_not_remembered(bench: Callable[..., Any]) -> None:
    """As soon as the service is back it is used."""
    it = await bench([answer({}, 503), answer({"models": "none"}), respond(body=b"{"), answer(MODELS)])
    for _ in range(3):
        with pytest.raises(CountFailed, match="tokenizer_unreachable"):
            await it.counter.version("m")
    assert await it.counter.version("m") == "v1"


async def test_entries_that_are_none_are_passed_over(bench: Callable[..., Any]) -> None:
    it = await bench(
        [answer({"models": ["x", {"alias": 1}, {"alias": "m"}, {"alias": "n", "tokenizer_version": "v"}]})]
    )
    assert await it.counter.version("n") == "v"
    assert len(it.upstream.requests) == 1


async def test_the_memo_is_bounded(bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MEMO_SIZE", 3)

    def models(request: Request) -> Action:
        return answer({"models": []})

    it = await bench(models)
    for number in range(10):
        await it.counter.version(f"model {number}")
    assert len(it.counter._versions) == 3
