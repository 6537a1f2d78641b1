"""Rules of background tasks: named, bounded, heard when they fail, ended by their owner."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from pixiu_py.tasks import Tasks


async def test_a_task_carries_its_owners_name_and_is_forgotten_when_it_ends():
    tasks = Tasks("owner")
    task = tasks.spawn(asyncio.sleep(0, "result"), "work")
    assert task.get_name() == "owner: work"
    assert len(tasks) == 1
    assert await task == "result"
    await asyncio.sleep(0)
    assert len(tasks) == 0


async def test_a_failure_is_logged_with_the_tasks_name():
    async def fail():
        raise RuntimeError("boom")

    tasks = Tasks("owner")
    with capture_logs() as logs:
        task = tasks.spawn(fail(), "work")
        await asyncio.wait((task,))
        await asyncio.sleep(0)
    assert [(entry["log_level"], entry["task"]) for entry in logs] == [("error", "owner: work")]
    assert str(logs[0]["exc_info"]) == "boom"


async def test_close_cancels_and_waits_until_each_has_ended():
    ended = []

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    tasks = Tasks("owner")
    for _ in range(2):
        tasks.spawn(work(), "work")
    await asyncio.sleep(0)
    with capture_logs() as logs:
        await tasks.close()
        await asyncio.sleep(0)
    assert ended == [True, True]
    assert len(tasks) == 0
    assert logs == []


async def test_close_of_nothing():
    await Tasks("owner").close()


async def test_a_task_above_the_limit_is_refused_and_its_coroutine_closed():
    tasks = Tasks("owner", limit=1)
    tasks.spawn(asyncio.sleep(3600), "first")
    second = asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="owner has 1 tasks already"):
        tasks.spawn(second, "second")
    with pytest.raises(RuntimeError, match="cannot reuse"):
        await second
    await tasks.close()


async def test_a_failing_task_does_not_keep_close_from_ending_the_others():
    async def fail_late():
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("late")

    tasks = Tasks("owner")
    tasks.spawn(fail_late(), "bad")
    other = tasks.spawn(asyncio.sleep(3600), "good")
    await asyncio.sleep(0)
    with capture_logs() as logs:
        await tasks.close()
        await asyncio.sleep(0)
    assert other.cancelled()
    assert [entry["task"] for entry in logs] == ["owner: bad"]


async def test_steps_are_taken_in_turns_with_everything_else():
    """One step in each turn of the loop."""
    tasks = Tasks("owner")
    taken = []
    tasks.spread((taken.append(number) for number in range(3)), "steps")
    seen = []
    while len(tasks):
        await asyncio.sleep(0)
        seen.append(len(taken))
    assert taken == [0, 1, 2]
    assert seen[:3] == [1, 2, 3]


def test_steps_are_taken_at_once_where_no_loop_runs():
    """Nothing else could have its turn."""
    taken = []
    Tasks("owner").spread((taken.append(number) for number in range(3)), "steps")
    assert taken == [0, 1, 2]
