"""Deciders are asked in their order until one knows, and none of them can fail a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pixiu_py.errors import StartError
from pixiu_py.filters.llm.router.conversation import Conversation, Message
from pixiu_py.filters.llm.router.decider import NO_ROUTE, Decider, DeciderError
from pixiu_py.filters.llm.router.model import DeciderRef, Preference, RouterConfig
from pixiu_py.filters.llm.router.sequence import Deciders, Found
from pixiu_py.registry import Family, Registry, plugin
from tests.fakes.exchange import make_context
from tests.fakes.kinds import REGISTRY

ROUTES = [Preference(name=name, description="", models=[name]) for name in ("code", "chat")]


@plugin(Family.DECIDER, "scripted")
class Scripted(Decider):
    """Answers what its config says, or raises it."""

    asked: list[Any]

    async def start(self) -> None:
        self.asked = []

    def decide(self, conversation: Conversation, routes: Sequence[Preference]) -> str | None:
        self.asked.append(routes)
        if isinstance(self.config, Exception):
            raise self.config
        answer: str | None = self.config
        return answer


@plugin(Family.DECIDER, "later")
class Later(Scripted):
    """The same, as a coroutine function."""

    async def decide(self, conversation: Conversation, routes: Sequence[Preference]) -> str | None:  # type: ignore[override]
        return super().decide(conversation, routes)


async def find(*answers: Any, kind: str = "scripted") -> tuple[Found, dict[str, float]]:
    """What deciders with these answers find, and what was counted."""
    context = make_context()
    context.registry = Registry()
    context.registry.add(Scripted)
    context.registry.add(Later)
    config = RouterConfig(deciders=[DeciderRef(name=kind, config=answer) for answer in answers])
    deciders = Deciders(config, context)
    await deciders.start()
    found = await deciders.find(Conversation(), ROUTES)
    await deciders.close()
    counted = context.metrics.counter(
        "pixiu_router_decider_answers_total",
        "What deciders answered: route, no_route, no_opinion, unknown_route, or the kind of a failure.",
        ("decider", "answer"),
    )
    return found, {answer: count for (_, answer), count in counted.series.items()}


@pytest.mark.parametrize("kind", ["scripted", "later"])
async def test_first_that_knows_decides(kind: str) -> None:
    """Plain functions and coroutine functions; those behind are not asked."""
    found, counted = await find(None, "chat", "code", kind=kind)
    assert found == Found(ROUTES[1])
    assert counted == {"no_opinion": 1, "route": 1}


async def test_no_route_ends_it() -> None:
    """A decider that is sure that nothing fits has decided."""
    found, counted = await find(NO_ROUTE, "code")
    assert found == Found(None, "no_match")
    assert counted == {"no_route": 1}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (DeciderError("timeout"), "timeout"),
        (ZeroDivisionError(), "fault"),
        ("weather", "unknown_route"),
        (["code"], "unknown_route"),
    ],
)
async def test_failure_is_counted_and_the_next_is_asked(answer: Any, kind: str) -> None:
    """Whatever it was: the request goes on."""
    assert await find(answer, "code") == (Found(ROUTES[0]), {kind: 1, "route": 1})
    assert await find(answer) == (Found(None, "error"), {kind: 1})


async def test_failures_are_said_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """A router model that is down would fill the log otherwise: it fails for every request."""
    said: list[dict[str, Any]] = []
    log = "pixiu_py.filters.llm.router.sequence.log.warning"
    monkeypatch.setattr(log, lambda event, **fields: said.append(fields))
    now = [0.0]
    context = make_context(lambda: now[0])
    context.registry = Registry()
    context.registry.add(Scripted)
    deciders = Deciders(RouterConfig(deciders=[DeciderRef(name="scripted", config=DeciderError("timeout"))]), context)
    await deciders.start()
    for _ in range(5):
        await deciders.find(Conversation(), ROUTES)
    now[0] += 30.0
    await deciders.find(Conversation(), ROUTES)
    assert [fields["failures"] for fields in said] == [1, 5]


async def test_nobody_with_an_opinion() -> None:
    assert (await find(None, None))[0] == Found(None, "no_match")


async def test_decider_that_is_not_there_stops_the_start() -> None:
    """Its plugin may be missing here although it was there when the file was checked."""
    deciders = Deciders(RouterConfig(deciders=[DeciderRef(name="gone", config=0)]), make_context())
    with pytest.raises(StartError, match="gone"):
        await deciders.start()


async def test_without_any_the_texts_are_compared() -> None:
    """Routes alone are a working configuration: no model is asked."""
    context = make_context()
    context.registry = REGISTRY
    deciders = Deciders(RouterConfig(), context)
    await deciders.start()
    routes = [Preference(name="code", description="writing program code", models=["m"])]
    found = await deciders.find(Conversation("", (Message("user", "write a program"),)), routes)
    assert found == Found(routes[0])
