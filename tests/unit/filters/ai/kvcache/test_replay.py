"""Asking an engine for what was missed."""

from __future__ import annotations

import asyncio

import pytest
import zmq.asyncio

from pixiu_py.filters.ai.kvcache import replay as module
from pixiu_py.filters.ai.kvcache.replay import Replay, ReplayFailed, shifted
from tests.fakes.kv_publisher import Publisher, message


async def _fetch(publisher: Publisher, start: int, most: int = 100, timeout: float = 5.0) -> list[int]:
    context = zmq.asyncio.Context()
    try:
        found = await Replay(context, publisher.replay_address, timeout).fetch(start, most)
        return [number for number, _ in found]
    finally:
        context.term()


@pytest.mark.parametrize(
    ("start", "most", "numbers"), [(0, 100, [3, 4, 5]), (5, 100, [5]), (9, 100, []), (0, 2, [3, 4])]
)
async def test_what_the_engine_still_has(start: int, most: int, numbers: list[int]) -> None:
    """From a number on, up to the end or to the bound."""
    async with Publisher("") as publisher:
        publisher.buffer = [(number, message(1.0)) for number in (3, 4, 5)]
        found, _ = await asyncio.gather(_fetch(publisher, start, most), publisher.serve_replay())
    assert found == numbers


@pytest.mark.parametrize("frames", [[b""], [b"", b"topic", b"short", b""], [b"", b"", b"\0" * 8, b"\xc1"]])
async def test_garbage(frames: list[bytes]) -> None:
    """Whoever listens there is no engine of vLLM's."""
    async with Publisher("") as publisher:
        with pytest.raises(ReplayFailed):
            await asyncio.gather(_fetch(publisher, 0), publisher.send_replay(*frames))


async def test_a_replay_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In messages, and in bytes."""
    monkeypatch.setattr(module, "MAX_REPLAY", 100)
    async with Publisher("") as publisher:
        publisher.buffer = [(number, message(1.0, {"type": "x" * 60})) for number in range(2)]
        with pytest.raises(ReplayFailed, match="more than 100 bytes"):
            await asyncio.gather(_fetch(publisher, 0), publisher.serve_replay())


async def test_silence_ends() -> None:
    """An engine that does not answer is not waited for."""
    async with Publisher("") as publisher:
        with pytest.raises(ReplayFailed, match="no end"):
            await _fetch(publisher, 0, timeout=0.05)


def test_ranks_have_ports_of_their_own() -> None:
    """vLLM adds the rank to the port."""
    assert shifted("tcp://10.0.0.1:5558", 0) == "tcp://10.0.0.1:5558"
    assert shifted("tcp://10.0.0.1:5558", 3) == "tcp://10.0.0.1:5561"
    assert shifted("ipc:///run/replay", 3) == "ipc:///run/replay"
