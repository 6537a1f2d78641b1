"""The ways of keeping a conversation on its model, by the name of their mode."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from pixiu_py.errors import StartError
from pixiu_py.filters.llm.router.affinity import Affinity, Pin, Session, Settled
from pixiu_py.filters.llm.router.budget import Read, Rules, Ruling, Turn, rule
from pixiu_py.filters.llm.router.session_binding import Binding, encode
from pixiu_py.filters.llm.router.session_key import named, recognised
from pixiu_py.filters.llm.router.session_store import Known, SessionStore
from pixiu_py.filters.llm.router.turns import is_user_turn
from pixiu_py.registry import Family
from pixiu_py.stores.memory import MemoryConfig, MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from pixiu_py.filters.base import Context
    from pixiu_py.filters.llm.router.conversation import Conversation
    from pixiu_py.filters.llm.router.prices import Prices
    from pixiu_py.filters.llm.router.session_model import Routing
    from pixiu_py.filters.llm.usage import Usage
    from pixiu_py.http.headers import Headers
    from pixiu_py.http.received import Received
    from pixiu_py.stores.base import Store


def build_affinity(config: Routing, context: Context, prices: Prices) -> Affinity:
    """What ``config`` asks for. Raises ``StartError``."""
    store = SessionStore(_store(config, context), config, context)
    if config.session_mode == "pin":
        return PinAffinity(config, store)
    if config.session_mode == "user-turn":
        return UserTurnAffinity(config, store)
    return BudgetAffinity(config, store, prices)


def _store(config: Routing, context: Context) -> Store:
    cache = config.session_cache
    if cache.name == "memory":
        return MemoryStore(MemoryConfig(max_entries=config.session_max_entries))
    entry = context.registry.find(Family.STORE, cache.name)
    if entry is None:
        raise StartError(f"store {cache.name} is not known")
    store: Store = entry.cls(cache.config)
    return store


class StoredAffinity(Affinity):
    """What the modes have in common: how a conversation is found, and where it is kept."""

    #: Whether each strand of a named conversation is kept by itself; that needs the body.
    strands = False

    def __init__(self, config: Routing, store: SessionStore, clock: Callable[[], float] = time.time) -> None:
        self.reads_body = self.strands or config.implicit_sessions
        self._store = store
        self._header = config.session_header
        self._tenant_header = config.session_cache.tenant_header
        self._implicit = config.implicit_sessions
        #: Unix seconds: several machines share what is written.
        self._clock = clock

    async def start(self) -> None:
        """See ``Affinity.start``."""
        await self._store.start()

    async def close(self) -> None:
        """See ``Affinity.close``."""
        await self._store.close()

    def strip(self, headers: Headers) -> None:
        """See ``Affinity.strip``."""
        headers.take(self._header)

    async def look_up(self, headers: Headers, conversation: Conversation | None) -> Session | None:
        """See ``Affinity.look_up``."""
        tenant = headers.get(self._tenant_header) if self._tenant_header else None
        id_ = headers.take(self._header)
        key: str | None = None
        if id_:
            key = named(tenant, id_, conversation if self.strands else None)
        elif self._implicit and conversation is not None:
            key = recognised(tenant, conversation, strands=self.strands)
        if key is None:
            return None
        return self._session(id_ or "", key, await self._store.get(key))

    def _session(self, id_: str, key: str, known: Known) -> Session:
        return Session(id_, key, known.pin, known)


class First(NamedTuple):
    """Mode pin: the first model that answered is the one, until it fails."""

    seen: Binding | None
    served: Binding

    def onto(self, current: Binding | None) -> Binding:
        """What was there meanwhile stays, unless it is the model that has just failed."""
        if current is None or (self.seen is not None and current.model_name == self.seen.model_name):
            return self.served
        return current


#: How many sessions are kept as they were found last.
_MOST_RECENT = 1024


class PinAffinity(StoredAffinity):
    """Nothing is decided while a pin lives."""

    def __init__(self, config: Routing, store: SessionStore, clock: Callable[[], float] = time.time) -> None:
        super().__init__(config, store, clock)
        self.steady = not store.sliding and not self.reads_body
        self._recent: dict[str, Session] = {}

    def again(self, session: Session, head: Received) -> Received | None:
        """See ``Affinity.again``."""
        return head.without(self._header) if self._store.stands(session.key, session.state) else None

    def _session(self, id_: str, key: str, known: Known) -> Session:
        """The very same session as the last time, if nothing has changed since: what was made of it is still true."""
        session = self._recent.get(key)
        if session is None or session.state is not known or session.id != id_:
            if len(self._recent) >= _MOST_RECENT:
                self._recent.clear()
            session = self._recent[key] = Session(id_, key, known.pin, known)
        return session

    def held(self, session: Session, conversation: Conversation | None) -> Pin | None:
        """See ``Affinity.held``."""
        return session.pin

    def settle(self, session: Session, candidate: Pin, conversation: Conversation) -> Settled:
        """See ``Affinity.settle``."""
        return Settled(candidate)

    def answered(self, session: Session, served: Pin) -> None:
        """Pin it. A conversation without a route is pinned to nothing: its next request is decided anew."""
        known: Known = session.state
        if served.route is None or (served == session.pin and not self._store.sliding):
            return
        self._store.put(session.key, known, First(known.binding, Binding(served.model, served.route)))


class Latest(NamedTuple):
    """Mode user-turn: the model that answered last is the one."""

    served: Binding

    def onto(self, current: Binding | None) -> Binding:
        """It is, whoever else answered meanwhile."""
        return self.served


class UserTurnAffinity(StoredAffinity):
    """The model that the user's words were decided for answers until the user speaks again."""

    strands = True

    def held(self, session: Session, conversation: Conversation | None) -> Pin | None:
        """See ``Affinity.held``."""
        return None if conversation is None or is_user_turn(conversation) else session.pin

    def settle(self, session: Session, candidate: Pin, conversation: Conversation) -> Settled:
        """See ``Affinity.settle``."""
        pin = session.pin
        return Settled(candidate, pin is not None, pin is not None and pin.model != candidate.model)

    def answered(self, session: Session, served: Pin) -> None:
        """See ``Affinity.answered``."""
        self._store.put(session.key, session.state, Latest(Binding(served.model, served.route, self._clock())))


class Budgeted(NamedTuple):
    """Mode budget: what was read, and what was decided."""

    known: Known
    ruling: Ruling


class BudgetAffinity(StoredAffinity):
    """As user-turn; and when the user speaks, another model is taken only as the budget allows."""

    strands = True
    reads_usage = True

    def __init__(
        self, config: Routing, store: SessionStore, prices: Prices, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(config, store, clock)
        budget = config.routing_budget
        self._prices = prices
        self._rules = Rules(
            share=budget.max_switch_spend_pct / 100,
            window=budget.cache_window_seconds,
            discount=budget.cache_read_discount,
            replenish=budget.replenish_on_rebind,
        )

    def released(self, session: Session) -> Session:
        """See ``Affinity.released``. There is no cache that could be lost."""
        known: Known = session.state
        return replace(session, pin=None, state=Known(None, known.data))

    def held(self, session: Session, conversation: Conversation | None) -> Pin | None:
        """See ``Affinity.held``."""
        if conversation is None or session.pin is None or is_user_turn(conversation):
            return None
        self._rule(session, session.pin, conversation)
        return session.pin

    def settle(self, session: Session, candidate: Pin, conversation: Conversation) -> Settled:
        """See ``Affinity.settle``."""
        ruling = self._rule(session, candidate, conversation)
        return Settled(ruling.pin, ruling.warm, ruling.switched)

    def answered(self, session: Session, served: Pin) -> None:
        """Book the request. A model that had to stand in was nobody's choice: its cost is not charged."""
        state = session.state
        if not isinstance(state, Budgeted):  # nothing was decided: the request cannot be read
            return
        turn: Turn = state.ruling.turn
        if served.model != turn.pin.model:
            turn = turn._replace(pin=served, spend=0.0)
        self._store.put(session.key, state.known, turn)
        binding = turn.onto(state.known.binding)
        session.state = Budgeted(Known(binding, encode(binding)), state.ruling)

    def ended(self, session: Session, served: Pin, usage: Usage | None) -> None:
        """Remember how much its model has read, and may have in its cache."""
        state = session.state
        if usage is None or not usage.prompt_tokens or not isinstance(state, Budgeted):
            return
        self._store.put(session.key, state.known, Read(served.model, usage.prompt_tokens, self._clock()))

    def _rule(self, session: Session, candidate: Pin, conversation: Conversation) -> Ruling:
        known: Known = session.state
        now = self._clock()
        ruling = rule(known.binding, candidate, conversation.tokens, self._prices.of, self._rules, now)
        session.state = Budgeted(known, ruling)
        return ruling
