"""The legacy controller, as it was recorded: arrays, chunks of 256, silent no-ops and calls that are never answered."""

from __future__ import annotations

from typing import Any

import pytest

from pixiu_py.filters.ai.kvcache.controller import Controller, Held, count, holdings
from pixiu_py.upstream.client import CallFailed, Client
from tests.fakes import engine_data
from tests.fakes.recorded_engine import RecordedEngine

ANSWERS = engine_data.exchanges("lmcache_controller")
CPU = "LocalCPUBackend"


@pytest.mark.parametrize(
    ("recorded", "held"),
    [
        ("lookup_hit", {"inst-a": Held(1024, CPU)}),
        ("lookup_hit_600_gives_512", {"inst-a": Held(512, CPU)}),
        ("lookup_hit_two_instances", {"inst-b": Held(512, CPU), "inst-a": Held(1024, CPU)}),
        ("lookup_miss_nothing_stored", {}),
        ("lookup_empty_tokens", {}),
    ],
)
def test_recorded_lookups(recorded: str, held: dict[str, Held]) -> None:
    """A real controller answers with arrays."""
    assert holdings(ANSWERS[recorded]["response"]["body"]) == held


def test_the_object_form_is_read_too() -> None:
    """What Pixiu expects, and its own mock sends."""
    assert holdings({"event_id": "x", "layout_info": {"a": {"0": CPU, "1": 12}}}) == {"a": Held(12, CPU)}


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        {"layout_info": []},
        {"layout_info": {"a": None}},
        {"layout_info": {"a": [CPU]}},
        {"layout_info": {"a": [CPU, "12"]}},
        {"layout_info": {"a": [CPU, -1]}},
        {"layout_info": {"a": [CPU, True]}},
        {"layout_info": {"a": {"0": CPU}}},
    ],
)
def test_garbage_is_a_failure(answer: Any) -> None:
    """What cannot be understood is not taken for a miss."""
    with pytest.raises(CallFailed, match="answer"):
        holdings(answer)


@pytest.mark.parametrize("answer", [None, {}, {"num_tokens": "1"}, {"num_tokens": True}, {"num_tokens": -1}])
def test_operations_must_tell_a_number(answer: Any) -> None:
    """A success that does not say of how much is none."""
    with pytest.raises(CallFailed):
        count(answer)


async def test_calls(client: Client) -> None:
    """Every request is one that the real controller was asked, word for word."""
    async with RecordedEngine("lmcache_controller") as engine:
        controller = Controller(client, f"http://{engine.address}/")
        assert await controller.lookup(range(600), 5.0) == {"inst-a": Held(512, CPU)}
        assert await controller.pin(range(1024), "inst-a", CPU, 5.0) == 1024
        assert await controller.pin([5] * 300, "inst-a", CPU, 5.0) == 0
        assert await controller.compress(range(512), "inst-a", CPU, "zstd", 5.0) == 0
        assert await controller.clear("inst-a", CPU, 5.0) == 1024
        with pytest.raises(CallFailed, match="same across all workers") as failed:
            await controller.clear("inst-x", CPU, 5.0)
        assert failed.value.status == 500
        assert not failed.value.may_pass


async def test_an_operation_that_is_never_answered_ends(client: Client) -> None:
    """A worker that failed sends no reply: only a time limit of ours ends the call."""
    async with RecordedEngine("lmcache_controller") as engine:
        with pytest.raises(CallFailed, match="timeout"):
            await Controller(client, f"http://{engine.address}").compress(range(512), "inst-b", CPU, "cachegen", 0.1)


async def test_less_than_a_chunk_is_not_asked_for(client: Client) -> None:
    """255 tokens never match, so the call is saved."""
    async with RecordedEngine("lmcache_controller") as engine:
        assert await Controller(client, f"http://{engine.address}").lookup(range(255), 5.0) == {}
        assert engine.requests == []
