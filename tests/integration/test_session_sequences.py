"""The reference's worked sequences for budgets and tool loops, numbered as there, through a gateway and over both stores.

Rates per million tokens: a costs 3.0 and 0.3 from the cache, b 5.0 and 0.5, c 0.1 and 0.01. A conversation has 100,000
tokens, as its answers tell; 25 percent may be spent. What the books say is read from the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import orjson
import pytest
import pytest_asyncio

from pixiu_py.config.types import Secret
from pixiu_py.filters.llm.router import session
from pixiu_py.filters.llm.router.session_binding import Binding, decode
from pixiu_py.stores.base import Store
from pixiu_py.stores.memory import MemoryStore
from pixiu_py.stores.redis import RedisConfig, RedisStore
from tests.conftest import StartGateway
from tests.fakes.bodies import chat, error
from tests.fakes.conf import Block, endpoint, http_filter, llm_conf
from tests.fakes.gateway import RunningGateway
from tests.fakes.sessions import AFFINITY, ROUTER, make_decider, says
from tests.fakes.upstream import Action, Upstream

CONTEXT = 100_000
PRICES = {"a": (3.0, 0.3), "b": (5.0, 0.5), "c": (0.1, 0.01)}


class Models:
    """The three models: what their next answers tell, and which of them fails."""

    def __init__(self) -> None:
        self.upstreams: dict[str, Upstream] = {}
        self.tokens = CONTEXT
        self.down = ""

    def answer(self, name: str) -> Action:
        """The next answer of a model."""
        if name == self.down:
            return error(503)
        return chat(name, usage={"prompt_tokens": self.tokens, "completion_tokens": 1, "total_tokens": self.tokens + 1})


class Wall:
    """The time of day, which a test can set."""

    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest_asyncio.fixture
async def models() -> AsyncIterator[Models]:
    """The three of them, listening."""
    models = Models()
    async with AsyncExitStack() as stack:
        for name in PRICES:
            upstream = Upstream(lambda _, name=name: models.answer(name))
            models.upstreams[name] = await stack.enter_async_context(upstream)
        yield models


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    """The clock of sessions in gateways that are started after this."""
    wall = Wall()
    for mode in (session.StoredAffinity, session.BudgetAffinity):
        monkeypatch.setattr(mode.__init__, "__defaults__", (wall,))
    return wall


@pytest_asyncio.fixture
async def store(cache: Block, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    """What the gateway writes to, to look into."""
    if "url" not in cache:
        memory = MemoryStore(MemoryStore.Config())
        monkeypatch.setattr(session, "MemoryStore", lambda config: memory)
        yield memory
        return
    redis = RedisStore(RedisConfig(url=Secret(cache["url"])))
    yield redis
    await redis.close()


class Dialogue:
    """One conversation, turn by turn."""

    def __init__(self, running: RunningGateway, models: Models, store: Store, decider: Any) -> None:
        self.running = running
        self.models = models
        self._store = store
        self._decider = decider

    async def turn(
        self, wish: str, tokens: int = CONTEXT, *, id_: str = "s", tool: bool = False, **more: Any
    ) -> tuple[str, str]:
        """Model and route of one request, whose answer tells ``tokens``. ``wish``: the model that is decided for."""
        self.models.tokens = tokens
        path, body = says("chat", wish, tool=tool, model=more.pop("model", "auto"))
        body = {**body, **more}
        reply = await self.running.request("POST", path, {AFFINITY: id_} if id_ else {}, orjson.dumps(body))
        assert reply.status == 200, reply.body
        model = reply.header("x-pixiu-model") or b""
        assert model in reply.body
        return model.decode(), (reply.header("x-pixiu-route-name") or b"").decode()

    async def decide(self, wish: str) -> tuple[str, str, bool, bool]:
        """Model, route, pinned and switched of a decision, which is booked as a request is."""
        path, body = says("chat", wish)
        reply = await self.running.request("POST", "/routing" + path, {AFFINITY: "s"}, orjson.dumps(body))
        found = orjson.loads(reply.body)
        return found["models"][0], found["route"], found["pinned"], found["switched"]

    async def books(self, baseline: float, spend: float = 0.0, *, switches: int = 0, tokens: int = CONTEXT) -> None:
        """What is kept of the conversation, once it has been written behind the request."""
        wanted = (pytest.approx(baseline, abs=1e-6), pytest.approx(spend, abs=1e-6), switches, tokens)
        found: Any = None
        for _ in range(1000):
            found = [self._figures(decode(value)) async for _, value in self._store.scan("")]
            if found == [wanted]:
                return
            await asyncio.sleep(0.005)  # another process holds them: there is no event to wait for
        assert found == [wanted]

    @staticmethod
    def _figures(binding: Binding | None) -> tuple[float, float, int, int]:
        assert binding is not None
        visit = binding.visit(binding.model_name)
        return binding.baseline_usd, binding.switch_spend_usd, binding.switches, visit.cached_tokens if visit else 0

    @property
    def decisions(self) -> int:
        """How often a decision was made since the last time."""
        asked: int = self._decider.asked
        self._decider.asked = 0
        return asked


@pytest.fixture
def begin(gateway: StartGateway, models: Models, wall: Wall, store: Store, cache: Block) -> Any:
    """``await begin(**routing)``: a gateway before the models, and a conversation with it."""

    async def start(**routing: Any) -> Dialogue:
        others = {"a": "bc", "b": "ac", "c": "ab"}
        prices = {name: {"input": plain, "output": 9, "cache_read": cached} for name, (plain, cached) in PRICES.items()}
        block: Block = {
            "routing_preferences": [
                {"name": name, "description": name, "models": [name, *others[name]]} for name in PRICES
            ],
            "deciders": [{"type": "told"}],
            "model_metrics_sources": [{"type": "cost", "provider": "static", "prices": prices}],
            "routing": {
                "session_cache": cache,
                "session_mode": "budget",
                "session_ttl_seconds": 3600,
                "routing_budget": {"max_switch_spend_pct": 25},
                **routing,
            },
        }
        endpoints = [endpoint(upstream, name, models=[name]) for name, upstream in models.upstreams.items()]
        decider = make_decider()
        running = await gateway(llm_conf(*endpoints, filters=[http_filter(ROUTER, **block)]), decider)
        return Dialogue(running, models, store, decider)

    return start


@pytest.mark.parametrize("answered", [True, False], ids=["answered", "decided"])
async def test_1_nothing_is_known_yet(begin: Any, answered: bool) -> None:
    """A first request is free to go anywhere."""
    talk = await begin()
    if answered:
        assert await talk.turn("a") == ("a", "a")
    else:
        assert await talk.decide("a") == ("a", "a", False, False)
    await talk.books(0, tokens=CONTEXT if answered else 0)


async def test_2_one_that_stays_saves(begin: Any) -> None:
    """Each warm turn adds 0.03 to the baseline, whether it is answered or only decided."""
    talk = await begin()
    assert await talk.turn("a") == ("a", "a")
    await talk.books(0)
    assert await talk.turn("a") == ("a", "a")
    await talk.books(0.03)
    assert await talk.decide("a") == ("a", "a", True, False)
    await talk.books(0.06)


@pytest.mark.parametrize("answered", [True, False], ids=["answered", "decided"])
@pytest.mark.parametrize(("before", "goes"), [(2.0, True), (1.0, False)], ids=["within", "above"])
async def test_3_a_switch_has_to_be_covered(begin: Any, before: float, goes: bool, answered: bool) -> None:
    """It costs 0.47: a quarter of 2.03 covers that, a quarter of 1.03 does not; then model, route and spend stay."""
    talk = await begin()
    await talk.turn("a", round(before / 0.3e-6))
    await talk.turn("a")
    await talk.books(before)
    if answered:
        assert await talk.turn("b") == (("b", "b") if goes else ("a", "a"))
    else:
        assert await talk.decide("b") == (("b", "b", True, True) if goes else ("a", "a", True, False))
    tokens = CONTEXT if answered or not goes else 0
    await talk.books(before + 0.03, 0.47 if goes else 0, switches=int(goes), tokens=tokens)


async def test_4_a_cheaper_model_is_free(begin: Any) -> None:
    """It reads anew for less than the other reads from its cache."""
    talk = await begin()
    await talk.turn("a")
    await talk.books(0)
    assert await talk.decide("c") == ("c", "c", True, True)
    await talk.books(0.03, 0, switches=1, tokens=0)
    assert await talk.turn("c") == ("c", "c")


async def test_5_baseline_is_that_of_the_first_model(begin: Any) -> None:
    """What staying there would have cost, however cheap the present one is."""
    talk = await begin()
    await talk.turn("a")
    await talk.books(0)
    for number in (1, 2, 3):
        assert await talk.turn("c") == ("c", "c")
        await talk.books(0.03 * number, switches=1)


async def test_6_going_back_costs_the_rest_only(begin: Any, models: Models, wall: Wall) -> None:
    """b has read the conversation 30 s ago: it has to read nothing anew."""
    talk = await begin()
    await talk.turn("a", round(0.4 / 0.3e-6))
    models.down = "a"
    assert await talk.turn("a") == ("b", "a")  # it stands in, which is charged to nobody
    models.down = ""
    await talk.books(0.4, switches=1)
    assert await talk.turn("a") == ("a", "a")
    await talk.books(0.43, switches=2)
    wall.now += 30
    assert await talk.decide("b") == ("b", "b", True, True)
    await talk.books(0.46, 0.02, switches=3)


async def test_7_after_a_rest_it_begins_anew(begin: Any, wall: Wall) -> None:
    """Nothing is left in a cache, so nothing is lost, and nothing is owed."""
    talk = await begin()
    await talk.turn("a")
    await talk.turn("a")
    await talk.books(0.03)
    wall.now += 600
    assert await talk.decide("b") == ("b", "b", False, False)
    await talk.books(0, tokens=0)


async def test_8_one_that_insists_gets_its_way_at_the_63rd_turn(begin: Any) -> None:
    """A quarter of 63 turns at 0.03 is 0.4725, the first to cover 0.47."""
    talk = await begin()
    await talk.turn("a")
    await talk.books(0)
    served = []
    for number in range(1, 64):
        served.append(await talk.turn("b"))
        await talk.books(0.03 * number, 0.47 if number == 63 else 0, switches=int(number == 63))
    assert served == [("a", "a")] * 62 + [("b", "b")]


async def test_9_without_a_budget_the_decision_counts(begin: Any) -> None:
    """The session is known, and leaves its model."""
    talk = await begin(session_mode="user-turn")
    assert await talk.turn("a") == ("a", "a")
    assert await talk.decide("b") == ("b", "b", True, True)
    assert await talk.turn("b") == ("b", "b")


@pytest.mark.parametrize("mode", ["user-turn", "budget"])
@pytest.mark.parametrize("id_", ["s", ""], ids=["named", "recognised"])
async def test_10_a_tool_loop_stays(begin: Any, mode: str, id_: str) -> None:
    """Nothing is decided for it, with an id and without one. What is not of it is decided, and does not move it."""
    talk = await begin(session_mode=mode, implicit_sessions=not id_)
    assert await talk.turn("a", id_=id_) == ("a", "a")
    assert talk.decisions == 1
    for _ in range(2):
        assert await talk.turn("a", id_=id_, tool=True) == ("a", "a")
    assert talk.decisions == 0
    await talk.turn("a", id_=id_, tool=True, model="other")  # another lane
    await talk.turn("a", id_=id_, tool=True, tools=[{"type": "function", "function": {"name": "g"}}])  # another prefix
    await talk.turn("c", id_=id_ and "t", tool=True)  # another session
    assert talk.decisions == 3
    assert await talk.turn("a", id_=id_, tool=True) == ("a", "a")
    assert talk.decisions == 0


@pytest.mark.parametrize("mode", ["user-turn", "budget"])
async def test_10_a_loop_of_a_session_that_has_ended_is_decided(begin: Any, mode: str) -> None:
    """As one without a session is, each time."""
    talk = await begin(session_mode=mode, session_ttl_seconds=1)
    assert await talk.turn("a") == ("a", "a")
    assert talk.decisions == 1
    async with asyncio.timeout(10):
        while not talk.decisions:
            await asyncio.sleep(1.1)  # each look makes it live on
            await talk.turn("a", tool=True)
    for _ in range(2):
        await talk.turn("a", id_="", tool=True)
    assert talk.decisions == 2
