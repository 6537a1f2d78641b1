"""Work in the background: bounded in number and time, once per key, and never an error for anybody."""

from __future__ import annotations

import asyncio

from pixiu_py.filters.ai.kvcache.background import Background
from pixiu_py.observability.metrics import Counter
from pixiu_py.upstream.client import CallFailed


def _background(most: int = 10, seconds: float = 5.0) -> tuple[Background, Counter]:
    results = Counter("results", "", ("work", "result"))
    return Background(most, seconds, results), results


async def _until_idle(background: Background) -> None:
    async with asyncio.timeout(5):
        while len(background):
            await asyncio.sleep(0)


async def test_results() -> None:
    """What came of each job is counted."""
    background, results = _background(seconds=0.05)

    async def well() -> None:
        pass

    async def failing() -> None:
        raise CallFailed("connect", "refused")

    async def endless() -> None:
        await asyncio.Event().wait()

    for key, work in ((b"a", well), (b"b", failing), (b"c", endless)):
        assert background.submit("learn", key, work)
    await _until_idle(background)
    assert results.series == {("learn", "ok"): 1, ("learn", "failed"): 1, ("learn", "timeout"): 1}
    await background.close()


async def test_number_and_keys() -> None:
    """One job for a key at a time; above the bound work is dropped, not queued."""
    background, results = _background(most=2)
    gate = asyncio.Event()
    begun: list[bytes] = []

    def job(key: bytes) -> bool:
        async def work() -> None:
            begun.append(key)
            await gate.wait()

        return background.submit("learn", key, work)

    assert [job(b"a"), job(b"a"), job(b"b"), job(b"c")] == [True, True, True, False]
    gate.set()
    await _until_idle(background)
    assert begun == [b"a", b"b"]
    assert results.series == {("learn", "ok"): 2, ("learn", "dropped"): 1}
    assert job(b"c")
    await background.close()


async def test_close_ends_what_runs() -> None:
    """No task is left."""
    background, _ = _background()
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    background.submit("learn", b"a", work)
    await asyncio.sleep(0)
    await background.close()
    assert ended.is_set()
    assert len(background) == 0
