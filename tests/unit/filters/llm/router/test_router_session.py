"""The modes: when a decision is skipped, what becomes of one, and what is kept of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pixiu_py.filters.llm.router.affinity import Affinity, Pin, Session, Settled
from pixiu_py.filters.llm.router.conversation import Conversation, read_conversation
from pixiu_py.filters.llm.router.prices import Prices, Rates
from pixiu_py.filters.llm.router.session import BudgetAffinity, PinAffinity, StoredAffinity, build_affinity
from pixiu_py.filters.llm.router.session_model import Routing, RoutingBudget, SessionCacheRef
from pixiu_py.filters.llm.usage import Usage
from pixiu_py.http.headers import Headers
from pixiu_py.stores.memory import MemoryStore
from tests.fakes.exchange import make_context

PRICES = Prices({"big": Rates(3.0, 15.0, 0.3), "small": Rates(5.0, 25.0, 0.5)})
BIG, SMALL = Pin("big", "code"), Pin("small", "talk")
USER = {"role": "user", "content": "Hello"}
TOOL = {"role": "tool", "tool_call_id": "c", "content": "1"}


@asynccontextmanager
async def opened(mode: str = "pin", **keys: Any) -> AsyncIterator[Affinity]:
    """A mode with a store in memory."""
    routing = Routing(session_mode=mode, **keys)  # type: ignore[arg-type]
    affinity = build_affinity(routing, make_context(), PRICES)
    await affinity.start()
    try:
        yield affinity
    finally:
        await affinity.close()


def says(*messages: dict[str, Any], **more: Any) -> Conversation:
    """What a request says."""
    return read_conversation({"model": "m", "messages": list(messages), **more})


def named(id_: str = "s1", **more: str) -> Headers:
    """Fields of a request with a session."""
    return Headers.of({"x-model-affinity": id_, **more})


async def turn(
    affinity: Affinity,
    conversation: Conversation,
    candidate: Pin,
    *,
    headers: Headers | None = None,
    served: Pin | None = None,
    tokens: int = 0,
) -> tuple[Pin | None, Settled | None]:
    """One request: the pin that was held, or what was settled. ``served``: another model stood in."""
    session = await affinity.look_up(named() if headers is None else headers, conversation)
    assert session is not None
    pin = affinity.held(session, conversation)
    settled = None if pin is not None else affinity.settle(session, candidate, conversation)
    chosen = pin or (settled.pin if settled else candidate)
    affinity.answered(session, served or chosen)
    affinity.ended(session, served or chosen, Usage("", tokens) if tokens else None)
    return pin, settled


async def look(affinity: Affinity, headers: Headers, conversation: Conversation | None = None) -> Session | None:
    """The session of a request."""
    return await affinity.look_up(headers, conversation)


# --- which session ---------------------------------------------------------------------------------------------------


async def test_without_an_id_there_is_no_session() -> None:
    """An empty one is none; nothing is looked up, and nothing is kept."""
    async with opened() as affinity:
        assert await look(affinity, Headers()) is None
        empty = named("")
        assert await look(affinity, empty) is None
        assert len(empty) == 0


async def test_the_id_goes_no_further() -> None:
    """It is the client's and ours; the tenant's header may be for others, too."""
    async with opened(session_cache=SessionCacheRef(tenant_header="x-tenant")) as affinity:
        headers = named("s1", **{"x-tenant": "t"})
        session = await look(affinity, headers)
        assert session is not None
        assert session.id == "s1"
        assert "x-model-affinity" not in headers
        assert headers.get("x-tenant") == "t"
        headers = named("s1")
        affinity.strip(headers)
        assert len(headers) == 0


async def test_header_of_the_session_can_have_another_name() -> None:
    async with opened(session_header="x-session-id") as affinity:
        assert await look(affinity, named()) is None
        session = await look(affinity, Headers.of({"X-Session-Id": "s"}))
        assert session is not None
        assert session.id == "s"


async def test_tenants_never_meet() -> None:
    """The same id under two tenants, under an empty one and under none: four sessions."""
    async with opened(session_cache=SessionCacheRef(tenant_header="x-tenant")) as affinity:
        tenants: list[dict[str, str]] = [{"x-tenant": "a"}, {"x-tenant": "b"}, {"x-tenant": ""}, {}]
        keys = set()
        for tenant in tenants:
            session = await look(affinity, named("s1", **tenant))
            assert session is not None
            assert session.pin is None
            affinity.answered(session, BIG)
            keys.add(session.key)
        assert len(keys) == 4


@pytest.mark.parametrize("mode", ["pin", "user-turn", "budget"])
async def test_a_conversation_is_recognised_if_that_is_wanted(mode: str) -> None:
    """By how it begins; the header still counts more. Off by default."""
    begun, grown = says(USER), says(USER, {"role": "assistant", "content": "Hi"}, TOOL)
    async with opened(mode) as affinity:
        assert await look(affinity, Headers(), begun) is None
    async with opened(mode, implicit_sessions=True) as affinity:
        assert affinity.reads_body
        assert (await turn(affinity, begun, BIG, headers=Headers()))[0] is None
        assert (await turn(affinity, grown, SMALL, headers=Headers()))[0] == BIG
        session = await look(affinity, Headers(), grown)
        assert session is not None
        assert session.id == ""
        named_one = await look(affinity, named(), grown)
        assert named_one is not None
        assert named_one.pin is None
        assert await look(affinity, Headers(), says()) is None


async def test_only_modes_that_look_at_the_request_need_its_body() -> None:
    """A pin is found by its header alone."""
    for mode, reads in (("pin", False), ("user-turn", True), ("budget", True)):
        async with opened(mode) as affinity:
            assert affinity.reads_body is reads
            assert affinity.reads_usage is (mode == "budget")


# --- pin -------------------------------------------------------------------------------------------------------------


async def test_pin_holds_whatever_is_said() -> None:
    """From the first good answer on nothing is decided."""
    async with opened() as affinity:
        assert await turn(affinity, says(USER), BIG) == (None, Settled(BIG))
        for conversation in (says(USER), says(USER, TOOL), says()):
            assert await turn(affinity, conversation, SMALL) == (BIG, None)


async def test_pin_is_kept_after_success_only() -> None:
    """A request that nobody answered leaves nothing behind."""
    async with opened() as affinity:
        session = await look(affinity, named())
        assert session is not None
        affinity.settle(session, BIG, says(USER))
        again = await look(affinity, named())
        assert again is not None
        assert again.pin is None


async def test_pin_moves_to_the_model_that_stood_in() -> None:
    """At the first request and later alike; its route stays."""
    stand_in = Pin("other", "code")
    async with opened() as affinity:
        await turn(affinity, says(USER), BIG, served=stand_in)
        assert (await turn(affinity, says(USER), SMALL, served=BIG))[0] == stand_in
        assert (await turn(affinity, says(USER), SMALL))[0] == BIG


async def test_without_a_route_nothing_is_pinned() -> None:
    """Small talk at the beginning does not tie a conversation to the default model."""
    async with opened() as affinity:
        assert await turn(affinity, says(USER), Pin("m")) == (None, Settled(Pin("m")))
        assert (await turn(affinity, says(USER), BIG))[0] is None
        assert (await turn(affinity, says(USER), SMALL))[0] == BIG


# --- user-turn -------------------------------------------------------------------------------------------------------


async def test_tool_loop_stays_with_the_model_that_began_it() -> None:
    """Until the user speaks: then the decision counts, and the next loop stays with its model."""
    async with opened("user-turn") as affinity:
        assert await turn(affinity, says(USER), BIG) == (None, Settled(BIG))
        for _ in range(3):
            assert await turn(affinity, says(USER, TOOL), SMALL) == (BIG, None)
        assert await turn(affinity, says(USER, TOOL, USER), BIG) == (None, Settled(BIG, True, False))
        assert await turn(affinity, says(USER, TOOL, USER), SMALL) == (None, Settled(SMALL, True, True))
        assert await turn(affinity, says(USER, TOOL, USER, TOOL), BIG) == (SMALL, None)


async def test_loop_of_a_turn_without_a_route_stays_too() -> None:
    """Tool-call ids belong to the model that made them, whyever it was asked."""
    async with opened("user-turn") as affinity:
        await turn(affinity, says(USER), Pin("m"))
        assert await turn(affinity, says(USER, TOOL), BIG) == (Pin("m"), None)


async def test_loop_is_decided_when_nothing_is_known_of_it() -> None:
    """Another model is asked for, other tools, another system text, another session, none yet: each is its own strand."""
    async with opened("user-turn") as affinity:
        await turn(affinity, says(USER), BIG)
        system = {"role": "system", "content": "Be brief."}
        strangers = [
            says(USER, TOOL, model="other"),
            says(system, USER, TOOL),
            says(USER, TOOL, tools=[{"type": "function", "function": {"name": "f"}}]),
        ]
        for conversation in strangers:
            assert (await turn(affinity, conversation, SMALL))[0] is None
        assert (await turn(affinity, says(USER, TOOL), SMALL, headers=named("s2")))[0] is None
        # What the side calls did has not touched the main loop.
        assert (await turn(affinity, says(USER, TOOL), SMALL))[0] == BIG


async def test_loop_moves_with_the_model_that_stood_in() -> None:
    async with opened("user-turn") as affinity:
        await turn(affinity, says(USER), BIG, served=SMALL)
        assert (await turn(affinity, says(USER, TOOL), BIG))[0] == SMALL


# --- budget ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def budget(now: list[float], **keys: Any) -> AsyncIterator[BudgetAffinity]:
    """Mode budget with a clock."""
    async with opened("budget", **keys) as affinity:
        assert isinstance(affinity, BudgetAffinity)
        affinity._clock = lambda: now[0]
        yield affinity


async def test_budget_counts_what_answers_told() -> None:
    """One that insists gets its way when a quarter of the baseline covers it: at the 63rd warm turn, as worked out."""
    now = [1e9]
    async with budget(now) as affinity:
        assert await turn(affinity, says(USER), BIG, tokens=100_000) == (None, Settled(BIG))
        outcomes = []
        for _ in range(63):
            now[0] += 10
            outcomes.append((await turn(affinity, says(USER), SMALL, tokens=100_000))[1])
        assert outcomes == [Settled(BIG, True, False)] * 62 + [Settled(SMALL, True, True)]


async def test_budget_holds_a_tool_loop_whatever_it_would_allow() -> None:
    """And the loop's requests count towards the baseline: its cache is what they are read from."""
    now = [1e9]
    async with budget(now, routing_budget=RoutingBudget(max_switch_spend_pct=100)) as affinity:
        await turn(affinity, says(USER), BIG, tokens=100_000)
        for _ in range(16):
            now[0] += 10
            assert await turn(affinity, says(USER, TOOL), SMALL, tokens=100_000) == (BIG, None)
        session = await look(affinity, named(), says(USER))
        assert session is not None
        assert session.state.binding.baseline_usd == pytest.approx(16 * 0.03)
        assert (await turn(affinity, says(USER), SMALL))[1] == Settled(SMALL, True, True)


async def test_a_model_that_had_to_stand_in_is_not_charged() -> None:
    """Nobody chose it. It is the session's model from then on."""
    now = [1e9]
    async with budget(now) as affinity:
        await turn(affinity, says(USER), BIG, tokens=100_000)
        await turn(affinity, says(USER), BIG, served=Pin("small", "code"), tokens=100_000)
        session = await look(affinity, named(), says(USER))
        assert session is not None
        assert session.pin == Pin("small", "code")
        assert (session.state.binding.switch_spend_usd, session.state.binding.switches) == (0.0, 1)


async def test_session_of_which_nothing_could_be_decided_is_left_alone() -> None:
    """Such as one whose body cannot be read: it passes, and breaks nothing."""
    async with opened("budget") as affinity:
        session = await look(affinity, named(), says())
        assert session is not None
        affinity.answered(session, Pin("m"))
        affinity.ended(session, Pin("m"), Usage("m", 5))
        again = await look(affinity, named(), says())
        assert again is not None
        assert again.pin is None


# --- stores ----------------------------------------------------------------------------------------------------------


async def test_the_memory_store_is_as_large_as_it_may_be() -> None:
    """The session unused longest goes first."""
    async with opened(session_max_entries=2) as affinity:
        assert isinstance(affinity, StoredAffinity)
        for id_ in ("a", "b", "c"):
            await turn(affinity, says(USER), BIG, headers=named(id_))
    store = affinity._store._store
    assert isinstance(store, MemoryStore)
    assert len(store) == 2


# --- what is kept from request to request ----------------------------------------------------------------------------


async def written(affinity: Affinity) -> None:
    """Until nothing waits to be written."""
    assert isinstance(affinity, StoredAffinity)
    while affinity._store._waiting or affinity._store._flying:
        await asyncio.sleep(0)


async def pinned_to(affinity: Affinity, pin: Pin) -> Session:
    """The session as it is found before its pin, which is in the store afterwards."""
    session = await look(affinity, named())
    assert session is not None
    affinity.answered(session, pin)
    await written(affinity)
    return session


async def test_a_session_that_has_not_changed_is_the_same_object() -> None:
    """So that what was made of it need not be made again; as soon as the pin moves, it is another."""
    async with opened() as affinity:
        first = await pinned_to(affinity, BIG)
        second, third = await look(affinity, named()), await look(affinity, named())
        assert second is not None
        assert second is third
        assert second is not first
        affinity.answered(second, Pin("other", "code"))
        await written(affinity)
        fourth = await look(affinity, named())
        assert fourth is not None
        assert (fourth.pin, second.pin) == (Pin("other", "code"), BIG)


async def test_a_pin_that_cannot_be_followed_is_released_for_one_request_only() -> None:
    """Another request of the session may go to another cluster."""
    async with opened() as affinity:
        await pinned_to(affinity, BIG)
        found = await look(affinity, named())
        assert found is not None
        assert affinity.released(found).pin is None
        again = await look(affinity, named())
        assert again is not None
        assert again.pin == BIG


async def test_sessions_are_not_kept_without_end() -> None:
    async with opened(session_max_entries=10) as affinity:
        for number in range(3000):
            await look(affinity, named(f"s{number}"))
        assert isinstance(affinity, PinAffinity)
        assert len(affinity._recent) <= 1024
