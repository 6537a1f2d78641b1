"""One request's models, and why these: session, deciders and ranking, put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pixiu_py.errors import DownstreamError
from pixiu_py.filters.llm.router.affinity import Affinity, Pin, Session
from pixiu_py.filters.llm.router.conversation import Conversation, read_conversation
from pixiu_py.filters.llm.router.inline import PREFERENCES, read_preferences

if TYPE_CHECKING:
    from pixiu_py.filters.base import Context
    from pixiu_py.filters.llm.plan import Plan
    from pixiu_py.filters.llm.router.metered import Meter
    from pixiu_py.filters.llm.router.model import Preference, RouterConfig
    from pixiu_py.filters.llm.router.ranking import Ranking
    from pixiu_py.filters.llm.router.sequence import Deciders
    from pixiu_py.http.exchange import Exchange, Request
    from pixiu_py.http.received import Received


@dataclass(slots=True)
class Choice:
    """What was chosen for one request."""

    #: Best first; empty when there is nothing to go by.
    models: tuple[str, ...]
    route: str | None = None
    #: Why no route was taken; empty when one was.
    reason: str = ""
    session: Session | None = None
    pinned: bool = False
    switched: bool = False
    #: True when a pin stands and nothing was decided.
    held: bool = False
    #: True when it stands for every request that finds its session like this, so that nobody may change it.
    steady: bool = False
    #: The plan that it makes, if it is steady.
    plan: Plan | None = None
    #: How it is counted.
    labels: tuple[str, ...] = ()
    #: True once the session has been told who answered.
    told: bool = False
    #: Reads the token counts of the answer, if the session wants them.
    meter: Meter | None = None


class Chooser:
    """Chooses for every request of one filter."""

    def __init__(
        self,
        config: RouterConfig,
        context: Context,
        deciders: Deciders,
        ranking: Ranking,
        affinity: Affinity | None,
    ) -> None:
        self._config = config
        self._deciders = deciders
        self._ranking = ranking
        self._affinity = affinity
        self._routes = {preference.name: preference for preference in config.routing_preferences}
        self._names = frozenset(("", *self._routes))
        self._targets = {name: alias.target for name, alias in config.model_aliases.items()}
        #: The models of routes that are tried in their declared order.
        self._declared = {route.name: self._models(route) for route in self._routes.values() if route.prefer == "none"}
        self._unreadable = context.metrics.counter(
            "pixiu_router_unreadable_preferences_total", "Requests whose own routing_preferences could not be read."
        )
        self._choices = context.metrics.counter(
            "pixiu_router_choices_total",
            "Choices by route (own: one of the request's) and outcome: route, pinned, or why no route was taken.",
            ("route", "outcome"),
        )

    def again(self, session: Session, head: Received, exchange: Exchange) -> Choice | None:
        """The choice of a session for another request with the same head, counted; None: it has to be chosen."""
        choice = session.choice
        if choice is None or self._affinity is None:
            return None
        cluster = exchange.cluster
        if cluster is None or not cluster.serves(choice.models[0]):
            return None
        onward = self._affinity.again(session, head)
        if onward is None:
            return None
        exchange.request.headers.stand_on(onward)
        self._choices.inc(choice.labels)
        return choice

    async def choose(self, exchange: Exchange) -> Choice:
        """The models for a request, counted. Raises ``DownstreamError`` when its body cannot be read."""
        affinity = self._affinity
        session: Session | None = None
        choice: Choice | None = None
        if affinity is not None and not affinity.reads_body:
            session = await affinity.look_up(exchange.request.headers, None)
            if session is not None and session.pin is not None:
                session = self._served(affinity, session, session.pin, exchange)
                choice = session.choice or self._held(affinity, session)
        if choice is None:
            choice = await self._choose(exchange, session)
        if not choice.labels:
            route = choice.route or ""
            outcome = "pinned" if choice.held else choice.reason or "route"
            choice.labels = (route if route in self._names else "own", outcome)
        self._choices.inc(choice.labels)
        return choice

    async def _choose(self, exchange: Exchange, session: Session | None) -> Choice:
        """A choice for a request whose body has to be read for it."""
        affinity = self._affinity
        document = await parsed(exchange.request, self._config.max_body_size)
        conversation = read_conversation(document)
        if affinity is not None and affinity.reads_body:
            session = await affinity.look_up(exchange.request.headers, conversation)
            if session is not None and session.pin is not None:
                session = self._served(affinity, session, session.pin, exchange)
                held = self._held(affinity, session, conversation)
                if held is not None:
                    return held
        choice = await self._decide(document, conversation, self._wanted(exchange, self.resolve(conversation.model)))
        choice.session = session
        if affinity is not None and session is not None and choice.models:
            self._settle(affinity, session, choice, conversation)
        return choice

    def resolve(self, model: str) -> str:
        """The model that a name stands for."""
        return self._targets.get(model, model)

    def _wanted(self, exchange: Exchange, requested: str) -> str:
        """The model that is asked when no route matches: the requested one if there is such a thing, else the default."""
        default = self.resolve(self._config.default_model)
        if not requested:
            return default
        cluster = exchange.cluster
        return default if default and cluster is not None and not cluster.serves(requested) else requested

    async def _decide(self, document: Any, conversation: Conversation, wanted: str) -> Choice:
        if not isinstance(document, dict):
            return Choice((), reason="unreadable")
        routes = self._preferences(document)
        otherwise = (wanted,) if wanted else ()
        if not routes:
            return Choice(otherwise, reason="no_preferences")
        if not any(message.role == "user" for message in conversation.messages):
            return Choice(otherwise, reason="no_messages")
        found = await self._deciders.find(conversation, routes)
        if found.route is None:
            return Choice(otherwise, reason=found.reason)
        return Choice(self._models(found.route), found.route.name)

    def _preferences(self, document: dict[str, Any]) -> Sequence[Preference]:
        """The routes of the request, where it brings some of its own, else those of the configuration."""
        if PREFERENCES in document:
            own = read_preferences(document[PREFERENCES])
            if own is not None:
                return own
            self._unreadable.inc()
        return self._config.routing_preferences

    def _models(self, route: Preference, first: str = "") -> tuple[str, ...]:
        """A route's models in the order in which they are tried, ``first`` before all others."""
        models = [self.resolve(model) for model in route.models]
        order = self._ranking.order(models, route.prefer)
        if first:
            order = (first, *order)
        return tuple(dict.fromkeys(order))[: self._config.max_models]

    # --- sessions ------------------------------------------------------------------------------------------------

    def _served(self, affinity: Affinity, session: Session, pin: Pin, exchange: Exchange) -> Session:
        """The session; without its pin if nobody serves that model any more, after a change of the file."""
        cluster = exchange.cluster
        return session if cluster is None or cluster.serves(pin.model) else affinity.released(session)

    def _held(self, affinity: Affinity, session: Session, conversation: Conversation | None = None) -> Choice | None:
        """What a session's pin says, if it stands."""
        pin = affinity.held(session, conversation)
        if pin is None:
            return None
        choice = Choice(self._around(pin), pin.route, session=session, pinned=True, held=True)
        if affinity.steady and pin.route in self._declared:
            choice.steady = True
            session.choice = choice
        return choice

    def _around(self, pin: Pin) -> tuple[str, ...]:
        """The pinned model; should it fail, the others of its route."""
        route_name = pin.route
        if route_name is None:
            return (pin.model,)
        declared = self._declared.get(route_name)
        if declared is not None and declared[0] == pin.model:  # nearly always
            return declared
        route = self._routes.get(route_name)
        return (pin.model,) if route is None else self._models(route, pin.model)

    def _settle(self, affinity: Affinity, session: Session, choice: Choice, conversation: Conversation) -> None:
        candidate = Pin(choice.models[0], choice.route)
        settled = affinity.settle(session, candidate, conversation)
        choice.pinned, choice.switched = settled.pinned, settled.switched
        if settled.pin != candidate:
            rest = choice.models
            choice.models = tuple(dict.fromkeys((settled.pin.model, *rest)))[: self._config.max_models]
            choice.route = settled.pin.route
            choice.reason = ""


async def parsed(request: Request, limit: int) -> Any:
    """The body as JSON; None for one that is none, which is the endpoint's business. Raises for one that is too large."""
    try:
        return await request.json(limit)
    except DownstreamError as error:
        if error.status != 400:
            raise
        return None
