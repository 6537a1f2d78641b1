"""Guarded calls: one try while somebody waits, several in the background, and a breaker that counts the right things."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pixiu_py.filters.ai.kvcache.calls import Calls, Tries, limits
from pixiu_py.filters.http.breaker import State
from pixiu_py.observability.metrics import Counter
from pixiu_py.upstream.client import CallFailed


class Service:
    """Answers as it is told, one after the other; a clock beside it."""

    def __init__(self, *answers: str, most: int = 1, failures: int = 2, probes: int = 1, **options: object) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.now = 0.0
        self.results = Counter("results", "", ("call", "result"))
        breaker = limits(failures, 10.0, probes)
        tries = Tries(most, 0.0, 0.0)
        self.calls = Calls("lookup", breaker, tries, lambda: self.now, self.results, **options)  # type: ignore[arg-type]

    async def call(self) -> str:
        """One call."""
        self.asked += 1
        answer = self.answers.pop(0)
        if answer == "cancelled":
            raise asyncio.CancelledError
        if answer != "ok":
            kind, _, status = answer.partition(" ")
            raise CallFailed(kind, "told so", int(status or 0))
        return answer

    async def ask(self, *, patiently: bool = False) -> str:
        """A guarded call; what came of it."""
        guarded: Callable[[Callable[[], Awaitable[str]]], Awaitable[str]] = (
            self.calls.patiently if patiently else self.calls.once
        )
        try:
            return await guarded(self.call)
        except CallFailed as error:
            return error.kind
        except asyncio.CancelledError:
            return "cancelled"

    @property
    def state(self) -> State:
        """The breaker's."""
        return self.calls.breaker.state


async def test_who_waits_gets_one_try() -> None:
    """However many tries are configured, and without a pause."""
    service = Service("connect", most=3)
    assert await service.ask() == "connect"
    assert service.asked == 1


@pytest.mark.parametrize(("most", "asked"), [(0, 1), (1, 1), (3, 3)])
async def test_tries_in_the_background(most: int, asked: int) -> None:
    """0 attempts still mean one try."""
    service = Service(*["connect"] * 9, most=most, failures=100)
    assert await service.ask(patiently=True) == "connect"
    assert service.asked == asked


@pytest.mark.parametrize(
    ("answer", "repeat", "asked"),
    [
        ("connect", True, 3),
        ("reset", True, 3),
        ("timeout", True, 3),
        ("status 500", True, 1),
        ("status 404", True, 1),
        ("answer", True, 1),
        ("connect", False, 3),
        ("reset", False, 1),
        ("timeout", False, 1),
    ],
)
async def test_what_is_tried_again(answer: str, repeat: bool, asked: int) -> None:
    """Never an answer, whatever its status; of what changes something only what never arrived."""
    service = Service(*[answer] * 9, most=3, failures=100, may_repeat=repeat)
    await service.ask(patiently=True)
    assert service.asked == asked


async def test_a_later_try_may_succeed() -> None:
    """And then the failures before it are forgotten."""
    service = Service("connect", "ok", "connect", "ok", most=3)
    for _ in range(2):
        assert await service.ask(patiently=True) == "ok"
    assert service.state is State.CLOSED


def test_pauses_double_up_to_the_longest() -> None:
    """None after the last try."""
    tries = Tries(5, 0.1, 0.5)
    assert [tries.pause(number) for number in range(1, 6)] == [0.1, 0.2, 0.4, 0.5, None]
    assert Tries(0).pause(1) is None
    assert Tries(10**9).pause(10**6) == 2.0


async def test_failures_in_a_row_open_the_breaker() -> None:
    """A success in between begins the row anew; when it is open nothing is asked."""
    service = Service("answer", "ok", "answer", "answer", "ok")
    told = [await service.ask() for _ in range(5)]
    assert told == ["answer", "ok", "answer", "answer", "breaker"]
    assert (service.asked, service.state) == (4, State.OPEN)


@pytest.mark.parametrize("harmless", ["cancelled", "timeout", "status 400"])
async def test_what_says_nothing_about_the_service(harmless: str) -> None:
    """A client that goes, a routing budget that is used up, and a prompt that the engine will not have."""
    service = Service(*[harmless] * 50, forgiven=(400,))
    for _ in range(50):
        await service.ask()
    assert (service.asked, service.state) == (50, State.CLOSED)


async def test_a_time_limit_in_the_background_is_a_failure() -> None:
    """There it was long enough."""
    service = Service("timeout", "timeout")
    for _ in range(2):
        await service.ask(patiently=True)
    assert service.state is State.OPEN


@pytest.mark.parametrize("probes", [1, 2, 3])
async def test_half_open_lets_exactly_as_many_through(probes: int) -> None:
    """Not one more, however many ask at once; and all of them good close it."""
    service = Service("answer", "answer", probes=probes)
    for _ in range(2):
        await service.ask()
    service.now = 10.0
    gate = asyncio.Event()
    asked = 0

    async def slow() -> str:
        nonlocal asked
        asked += 1
        await gate.wait()
        return "ok"

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(service.calls.once(slow), name="ask") for _ in range(probes)]
        while asked < probes:
            await asyncio.sleep(0)
        for _ in range(5):
            assert await service.ask() == "breaker"
        gate.set()
    assert [task.result() for task in tasks] == ["ok"] * probes
    assert (asked, service.state) == (probes, State.CLOSED)


async def test_a_bad_probe_opens_it_again() -> None:
    """For the whole time."""
    service = Service("answer", "answer", "answer", "ok")
    for _ in range(2):
        await service.ask()
    service.now = 10.0
    assert await service.ask() == "answer"
    service.now = 19.9
    assert await service.ask() == "breaker"
    service.now = 20.0
    assert await service.ask() == "ok"


async def test_a_cancelled_probe_lets_another_go() -> None:
    """A client that left has told nothing."""
    service = Service("answer", "answer", "cancelled", "ok")
    for _ in range(2):
        await service.ask()
    service.now = 10.0
    assert await service.ask() == "cancelled"
    assert await service.ask() == "ok"


async def test_results_are_counted() -> None:
    """By call and by what came of it."""
    service = Service("ok", "answer", "answer")
    for _ in range(4):
        await service.ask()
    assert service.results.series == {("lookup", "ok"): 1, ("lookup", "answer"): 2, ("lookup", "breaker"): 1}
