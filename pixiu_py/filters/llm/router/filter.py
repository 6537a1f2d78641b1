"""The plugin: chooses models before the LLM proxy walks them, and says afterwards which of them served."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from pixiu_py.filters.base import Context, HttpFilter
from pixiu_py.filters.llm.dialect import OTHER, dialect_of
from pixiu_py.filters.llm.plan import plan_of
from pixiu_py.filters.llm.router.affinity import Pin
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
from pixiu_py.http.splice import may_have_key, remove_key
from pixiu_py.registry import Family, plugin

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.config.model import Cluster
    from pixiu_py.config.report import BlockReport
    from pixiu_py.http.exchange import Attempt, Exchange, Response
    from pixiu_py.http.headers import Headers, Raw

#: ``exchange.params`` key of an exchange's ``Choice``.
CHOICE: Final = "llm_router"
MODEL_HEADER: Final = "x-pixiu-model"
ROUTE_HEADER: Final = "x-pixiu-route-name"

_SAID = frozenset((MODEL_HEADER.encode(), ROUTE_HEADER.encode()))
_LENGTHS = frozenset(map(len, _SAID))
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

    async def decode(self, exchange: Exchange) -> Response | None:
        """Put the chosen models into the plan; answer for the list of models and for a decision alone."""
        request = exchange.request
        path = request.path
        if request.method == "GET" and self._listing.has(path):
            return self._listing.answer(path, self.chooser.cluster(exchange))
        if self._prefix and path.startswith(self._prefix):
            inner = path[len(self._prefix) - 1 :]
            return await answer_decision(exchange, inner, self.chooser, self._affinity, self.context.random)
        if request.method != "POST" or not request.body.exists or dialect_of(path) is OTHER:
            if self._affinity is not None:
                self._affinity.strip(request.headers)
            await self._rename(exchange)
            return None
        body = await request.body.read(self.config.max_body_size)
        exchange.params[CHOICE] = choice = await self.chooser.choose(exchange)
        if choice.models:
            self._plan(exchange, choice.models)
        if may_have_key(body, PREFERENCES):
            plan_of(exchange).edits.append(_without_preferences)
        return None

    def _plan(self, exchange: Exchange, models: tuple[str, ...]) -> None:
        plan = plan_of(exchange)
        plan.models = models
        plan.most_attempts = self.config.max_attempts
        if self.config.fallback_window:
            plan.until = self.context.clock() + self.config.fallback_window

    async def _rename(self, exchange: Exchange) -> None:
        """Resolve an alias in a request that needs no decision, such as one for embeddings."""
        request = exchange.request
        if not self.config.model_aliases or request.method != "POST" or not request.body.exists:
            return
        document = await parsed(request, self.config.max_body_size)
        model = document.get("model") if isinstance(document, dict) else None
        if isinstance(model, str) and (target := self.chooser.resolve(model)) != model:
            plan_of(exchange).models = (target,)

    def encode(self, exchange: Exchange) -> None:
        """Say who serves; remember it for the conversation before the client sees anything of the answer."""
        choice: Choice | None = exchange.params.get(CHOICE)
        response = exchange.response
        if choice is None or response is None or not exchange.attempts:
            return
        latest = exchange.attempts[-1]
        if not latest.seconds:  # the client gets heartbeats: nobody has answered yet
            return
        _say(response.headers, latest.model, choice.route)
        if response.status < 300:
            self._tell(choice, latest)
            if choice.told and self._affinity is not None and self._affinity.reads_usage:
                choice.meter = metered(response, self.context.clock)

    def _tell(self, choice: Choice, attempt: Attempt) -> None:
        """Tell the session who has answered well."""
        if self._affinity is not None and choice.session is not None and attempt.success and attempt.model:
            choice.told = True
            self._affinity.answered(choice.session, Pin(attempt.model, choice.route))

    def done(self, exchange: Exchange) -> None:
        """The answer is over."""
        choice: Choice | None = exchange.params.get(CHOICE)
        if self._ranking.observes:
            self._ranking.observe(exchange.attempts)
        if choice is None or self._affinity is None or choice.session is None or not exchange.attempts:
            return
        if not choice.told and exchange.end_reason == "complete" and exchange.status < 300:
            self._tell(choice, exchange.attempts[-1])
        if not choice.told:
            return
        served = Pin(exchange.attempts[-1].model, choice.route)
        usage = choice.meter.usage if choice.meter is not None else None
        self._affinity.ended(choice.session, served, usage)


def _say(headers: Headers, model: str, route: str | None) -> None:
    for name, _ in headers.raw:
        if len(name) in _LENGTHS and name.lower() in _SAID:  # by another gateway, behind this one
            headers.remove(MODEL_HEADER, ROUTE_HEADER)
            break
    for field in _fields(model, route):
        headers.append(field)


@lru_cache(maxsize=1024)
def _fields(model: str, route: str | None) -> list[Raw]:
    """What the client is told. What cannot stand in a field is left out: clients may name a model as they like."""
    said = ((MODEL_HEADER, model), (ROUTE_HEADER, route))
    return [(encode(name), encode(value)) for name, value in said if value and not _CONTROLS.search(value)]


def _without_preferences(body: bytes, endpoint: Endpoint, model: str) -> bytes:
    """The body without the client's routes, which are for this gateway."""
    return remove_key(body, PREFERENCES)
