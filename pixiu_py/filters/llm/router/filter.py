"""The plugin: chooses models before the LLM proxy walks them, and says afterwards which of them served."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from pixiu_py.filters.base import Context, HttpFilter
from pixiu_py.filters.llm.dialect import OTHER, dialect_of
from pixiu_py.filters.llm.model_name import named_model
from pixiu_py.filters.llm.plan import PLAN, Plan, plan_of
from pixiu_py.filters.llm.router.affinity import pin
from pixiu_py.filters.llm.router.check import check_names
from pixiu_py.filters.llm.router.choice import Choice, Chooser, parsed
from pixiu_py.filters.llm.router.decision import answer_decision
from pixiu_py.filters.llm.router.inline import PREFERENCES
from pixiu_py.filters.llm.router.listing import Listing
from pixiu_py.filters.llm.router.metered import metered
from pixiu_py.filters.llm.router.model import RouterConfig
from pixiu_py.filters.llm.router.ranking import Ranking
from pixiu_py.filters.llm.router.sequence import Deciders
from pixiu_py.filters.llm.router.session import build_affinity
from pixiu_py.http.headers import encode
from pixiu_py.http.received import Fields
from pixiu_py.http.splice import may_have_key, remove_key
from pixiu_py.registry import Family, plugin

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.config.model import Cluster
    from pixiu_py.config.report import BlockReport
    from pixiu_py.filters.llm.router.affinity import Session
    from pixiu_py.http.exchange import Attempt, Exchange, Response
    from pixiu_py.http.headers import Headers
    from pixiu_py.http.received import Received

#: ``exchange.params`` key of an exchange's ``Choice``.
CHOICE: Final = "llm_router"
MODEL_HEADER: Final = "x-pixiu-model"
ROUTE_HEADER: Final = "x-pixiu-route-name"

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


@plugin(Family.HTTP_FILTER, "dgp.filter.llm.router")
class LlmRouter(HttpFilter):
    """Chooses the models that a request is tried with."""

    Config = RouterConfig
    config: RouterConfig

    def __init__(self, config: RouterConfig, context: Context) -> None:
        super().__init__(config, context)
        self._resources = AsyncExitStack()
        prefix = config.decision_path.strip("/")
        self._prefix = f"/{prefix}/" if prefix else ""
        self._ranking = Ranking(config, context)
        self._affinity = build_affinity(config.routing, context, self._ranking.prices) if config.routing else None
        self._reads_usage = self._affinity is not None and self._affinity.reads_usage
        self._deciders = Deciders(config, context)
        self._listing = Listing(config, context)
        self.chooser = Chooser(config, context, self._deciders, self._ranking, self._affinity)

    @classmethod
    def check(cls, config: RouterConfig, clusters: Mapping[str, Cluster], report: BlockReport) -> None:
        """See ``HttpFilter.check``."""
        check_names(config, clusters, report)

    async def start(self) -> None:
        """Connect to the session store, start the deciders, get prices and latencies. Raises ``StartError``."""
        for part in (self._ranking, self._deciders, self._affinity, self._listing):
            if part is not None:
                self._resources.push_async_callback(part.close)
                await part.start()

    async def close(self) -> None:
        """End what was started."""
        await self._resources.aclose()

    def decode(self, exchange: Exchange) -> Awaitable[Response | None] | None:
        """Put the chosen models into the plan; answer for the list of models and for a decision alone."""
        head = _as_it_came(exchange.request.headers)
        if head is not None and (session := head.notes.get(self)) is not None and PLAN not in exchange.params:
            choice = self.chooser.again(session, head, exchange)
            if choice is not None:
                exchange.params[CHOICE], exchange.params[PLAN] = choice, choice.plan
                return None
        return self._decode(exchange)

    async def _decode(self, exchange: Exchange) -> Response | None:
        request = exchange.request
        path = request.path
        if self._prefix and path.startswith(self._prefix):
            inner = path[len(self._prefix) - 1 :]
            return await answer_decision(exchange, inner, self.chooser, self._affinity, self.context.random)
        if request.method == "POST" and request.body.length != 0 and dialect_of(path) is not OTHER:
            await self._choose(exchange)
            return None
        if request.method in ("GET", "HEAD") and self._listing.has(path):
            return self._listing.answer(path, exchange.cluster)
        if self._affinity is not None:
            self._affinity.strip(request.headers)
        await self._rename(exchange)
        return None

    async def _choose(self, exchange: Exchange) -> None:
        params, request = exchange.params, exchange.request
        if "content-encoding" in request.headers:  # also where a pin stands: the model's name has to be put in
            await request.content(self.config.max_body_size)
        head = _as_it_came(request.headers)
        params[CHOICE] = choice = await self.chooser.choose(exchange)
        if not choice.steady or PLAN in params:
            self._plan(plan_of(exchange), choice)
            return
        plan = choice.plan
        if plan is None:
            plan = choice.plan = Plan()
            self._plan(plan, choice)
            plan.shared = True
        params[PLAN] = plan
        if head is not None:
            head.notes[self] = choice.session

    def _plan(self, plan: Plan, choice: Choice) -> None:
        plan.edits += (_without_preferences,)
        if choice.models:
            plan.models = choice.models
            plan.most_attempts = self.config.max_attempts
            plan.window = self.config.fallback_window

    async def _rename(self, exchange: Exchange) -> None:
        """Resolve an alias in a request that needs no decision, such as one for embeddings."""
        request = exchange.request
        if not self.config.model_aliases or request.method != "POST" or not request.body.exists:
            return
        document = await parsed(request, self.config.max_body_size)
        model = named_model(document)
        if (target := self.chooser.resolve(model)) != model:
            plan_of(exchange).models = (target,)

    def encode(self, exchange: Exchange) -> None:
        """Say who serves; remember it for the conversation before the client sees anything of the answer."""
        choice: Choice | None = exchange.params.get(CHOICE)
        response = exchange.response
        if choice is None or response is None or not exchange.attempts:
            return
        latest = exchange.attempts[-1]
        if choice.steady:
            if latest.seconds and latest.model == choice.models[0]:  # which is what the session knows
                response.headers.put(_said(latest.model, choice.route))
                return
            choice = exchange.params[CHOICE] = replace(choice, steady=False)
        if not latest.seconds:  # the client gets heartbeats: nobody has answered yet
            return
        response.headers.put(_said(latest.model, choice.route))
        if response.status < 300 and choice.session is not None:
            self._tell(choice, choice.session, latest)
            if choice.told and self._reads_usage:
                choice.meter = metered(response, self.context.clock)

    def _tell(self, choice: Choice, session: Session, attempt: Attempt) -> None:
        """Tell the session who has answered well."""
        if self._affinity is not None and attempt.model and not attempt.error:
            choice.told = True
            self._affinity.answered(session, pin(attempt.model, choice.route))

    def done(self, exchange: Exchange) -> None:
        """The answer is over."""
        if self._ranking.observes:
            self._ranking.observe(exchange.attempts)
        choice: Choice | None = exchange.params.get(CHOICE)
        if choice is None or choice.steady or choice.session is None or not exchange.attempts:
            return
        if not choice.told and exchange.end_reason == "complete" and exchange.status < 300:
            self._tell(choice, choice.session, exchange.attempts[-1])
        if choice.told and self._reads_usage and self._affinity is not None:
            usage = choice.meter.usage if choice.meter is not None else None
            self._affinity.ended(choice.session, pin(exchange.attempts[-1].model, choice.route), usage)


def _as_it_came(headers: Headers) -> Received | None:
    """The head that these are the fields of, if no filter has put anything of its own to them: only an id of the request."""
    added = headers.added
    return headers.origin if not added or (len(added) == 1 and added[0][0] == b"x-request-id") else None


@lru_cache(maxsize=1024)
def _said(model: str, route: str | None) -> Fields:
    """What the client is told. What cannot stand in a field is left out: clients may name a model as they like."""
    said = ((MODEL_HEADER, model), (ROUTE_HEADER, route))
    fields = [(encode(name), encode(value)) for name, value in said if value and not _CONTROLS.search(value)]
    return Fields(fields, [encode(name) for name, _ in said])


def _without_preferences(body: bytes, endpoint: Endpoint, model: str) -> bytes:
    """The body without the client's routes, which are for this gateway."""
    return remove_key(body, PREFERENCES) if may_have_key(body, PREFERENCES) else body
