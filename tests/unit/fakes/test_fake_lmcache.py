"""The fake controller and engine answer as the real ones did."""

from __future__ import annotations

from typing import Any

import pytest

from pixiu_py.upstream.client import CallFailed, Client, service_at
from tests.fakes import engine_data
from tests.fakes.lmcache import FakeController, FakeCoordinator, FakeVllm

RECORDED = engine_data.exchanges("lmcache_controller")


async def _same(client: Client, server: Any, record: dict[str, Any]) -> None:
    """The server's answer to a recorded request is the recorded one, but for ids."""
    expected = record["response"]
    call = client.ask(service_at(f"http://{server.address}"), record["path"], record["request"]["body"], 5.0)
    if expected["status"] != 200:
        with pytest.raises(CallFailed) as failed:
            await call
        assert failed.value.status == expected["status"]
        return
    answer = await call
    for key, value in expected["body"].items():
        if key != "event_id":
            assert answer[key] == value, key


async def test_controller(client: Client) -> None:
    """In the order of the recording, with what its notes say was stored in between."""
    async with FakeController("inst-b", "inst-a") as controller:

        async def replay(*ids: str) -> None:
            for id_ in ids:
                await _same(client, controller, RECORDED[id_])

        await replay("lookup_miss_nothing_stored")
        controller.store("inst-a", list(range(1024)))
        await replay("lookup_hit", "lookup_hit_longer_prompt", "lookup_hit_600_gives_512", "lookup_hit_300_gives_256")
        await replay("lookup_miss_255_tokens", "lookup_miss_other_tokens", "lookup_empty_tokens", "evict_404")
        controller.store("inst-b", list(range(512)))
        await replay("lookup_hit_two_instances", "lookup_hit_absent_is_not_uncached")
        controller.store("inst-b", list(range(1536)))
        await replay("lookup_hit_first_registered_takes_all", "pin", "pin_unknown_tokens_is_200_with_0")
        await replay(
            "pin_unknown_location_is_200_with_0", "pin_500_unknown_instance", "compress_zstd_is_a_silent_no_op"
        )
        controller.store("inst-a", list(range(5000, 6024)))
        await replay("clear_counts_unpinned_only", "lookup_miss_after_clear", "clear_tokens_are_ignored")
        await replay("clear_500_unknown_instance", "lookup_still_works_after_that")


@pytest.mark.parametrize(
    ("id_", "stored"),
    [
        ("lookup_nothing_stored", False),
        ("lookup_hit", True),
        ("lookup_served_name_instead_of_path", True),
        ("lookup_short_prompt_no_chunk", True),
    ],
)
async def test_coordinator(client: Client, id_: str, stored: bool) -> None:
    """As many results as whole chunks, each with the instances that hold it."""
    record = engine_data.exchanges("lmcache_coordinator")[id_]
    async with FakeCoordinator("mp-a") as coordinator:
        if stored:
            coordinator.store("mp-a", list(range(2000, 3201)))
        answer = await client.ask(
            service_at(f"http://{coordinator.address}"), record["path"], record["request"]["body"], 5.0
        )

    def placed(body: dict[str, Any]) -> list[list[str]]:
        assert body["chunks"] == len(body["results"])
        return [[placement["instance_id"] for placement in result["placements"]] for result in body["results"]]

    assert placed(answer) == placed(record["response"]["body"])
    for result, real in zip(answer["results"], record["response"]["body"]["results"], strict=True):
        assert result.keys() == real.keys()
        for placement, real_placement in zip(result["placements"], real["placements"], strict=True):
            assert placement.keys() == real_placement.keys()


@pytest.mark.parametrize("id_", ["error_unknown_model", "error_neither_prompt_nor_messages"])
async def test_tokenizer_errors(client: Client, id_: str) -> None:
    """What the gateway must tell from a fault of the engine."""
    async with FakeVllm("a") as engine:
        await _same(client, engine, engine_data.exchanges("vllm_tokenize")[id_])


async def test_tokens_are_a_prefix_of_a_longer_chat(client: Client) -> None:
    """As of any tokenizer with a chat template."""
    async with FakeVllm("a") as engine:
        first = {"model": "tiny", "messages": [{"role": "user", "content": "one two"}]}
        longer = {"model": "tiny", "messages": [*first["messages"], {"role": "user", "content": "three"}]}
        short, long = [
            (await client.ask(service_at(f"http://{engine.address}"), "/tokenize", body, 5.0))["tokens"]
            for body in (first, longer)
        ]
    assert long[: len(short)] == short
    assert len(long) > len(short)
