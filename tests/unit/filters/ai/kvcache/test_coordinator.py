"""The coordinator's directory, as it was recorded."""

from __future__ import annotations

from typing import Any

import pytest

from pixiu_py.filters.ai.kvcache.controller import Held
from pixiu_py.filters.ai.kvcache.coordinator import Coordinator, leading, model_roots
from pixiu_py.upstream.client import CallFailed, Client
from tests.fakes import engine_data
from tests.fakes.recorded_engine import RecordedEngine

ANSWERS = engine_data.exchanges("lmcache_coordinator")
PROMPT = range(2000, 3201)


def _chunk(*instances: str) -> dict[str, Any]:
    return {"key": {}, "placements": [{"instance_id": name, "tier": "l1"} for name in instances]}


@pytest.mark.parametrize(
    ("chunks", "held"),
    [
        ([], {}),
        ([[]], {}),
        ([["a"], ["a"]], {"a": 512}),
        ([["a", "b"], ["a"], ["a", "b"]], {"a": 768, "b": 256}),
        ([["a"], [], ["a"]], {"a": 256}),
        ([["b"], ["a"]], {"b": 256}),
        ([["a", "a"]], {"a": 256}),
    ],
)
def test_a_prefix_ends_with_its_first_hole(chunks: list[list[str]], held: dict[str, int]) -> None:
    """Later chunks are of no use without the ones before."""
    answer = {"chunks": len(chunks), "results": [_chunk(*names) for names in chunks]}
    assert {name: found.tokens for name, found in leading(answer, 256).items()} == held


@pytest.mark.parametrize(
    "answer", [None, {}, {"results": {}}, {"results": [1]}, {"results": [{"placements": [{"tier": "l1"}]}]}]
)
def test_garbage_is_a_failure(answer: Any) -> None:
    """What cannot be understood is not taken for a miss."""
    with pytest.raises(CallFailed, match="answer"):
        leading(answer, 256)


async def test_lookups(client: Client) -> None:
    """1201 tokens are four chunks; the served name in place of the path finds nothing."""
    async with RecordedEngine("lmcache_coordinator", "lookup_hit", "lookup_served_name_instead_of_path") as engine:
        coordinator = _Unsized(client, f"http://{engine.address}/")
        assert await coordinator.lookup(PROMPT, "/models/tiny", 5.0) == {"mp-a": Held(1024, "l1")}
        assert await coordinator.lookup(PROMPT, "tiny", 5.0) == {}
        assert await coordinator.lookup(range(255), "/models/tiny", 5.0) == {}
        assert len(engine.requests) == 2


async def test_operations(client: Client) -> None:
    """Pinning and deleting tell chunks; we tell tokens."""
    async with RecordedEngine("lmcache_coordinator") as engine:
        coordinator = Coordinator(client, f"http://{engine.address}/")
        assert await coordinator.delete(PROMPT, "/models/tiny", "mp-a", 5.0) == 1024
        assert await _Salted(client, f"http://{engine.address}/").pin(PROMPT, "/models/tiny", 5.0) == 1024


class _Unsized(Coordinator):
    """The recorded lookups left the world size to its default."""

    def _about(self, tokens: Any, model: str, salt: str) -> dict[str, Any]:
        document = super()._about(tokens, model, salt)
        assert document.pop("world_size") == 1
        return document


class _Salted(Coordinator):
    """The recorded pins were sent with an empty salt."""

    def _about(self, tokens: Any, model: str, salt: str) -> dict[str, Any]:
        return {**super()._about(tokens, model, salt), "cache_salt": salt}


def test_paths_of_models() -> None:
    """vLLM tells the path that its served name stands for."""
    body = engine_data.exchanges("vllm_openai")["models"]["response"]["body"]
    assert model_roots(body) == {"tiny": "/models/tiny"}
    assert model_roots({"data": [{"id": "x"}, 3]}) == {}
    assert model_roots([]) == {}
