"""The plugin: reads what a request has marked, and puts into the answer what of it was read from the cache and written to it.

The classification begins with the request and runs beside it. It is waited for where the answer tells its usage, and
nowhere else. What an answer has earned is committed when its last byte has been sent.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from pixiu_py.errors import DownstreamError
from pixiu_py.filters.base import Context, HttpFilter
from pixiu_py.filters.llm.plan import PLAN, Plan, plan_of
from pixiu_py.filters.llm.promptcache.account import Account
from pixiu_py.filters.llm.promptcache.answer import Answers
from pixiu_py.filters.llm.promptcache.blocks import CHAT, MESSAGES, Api, Telemetry, api_of, read
from pixiu_py.filters.llm.promptcache.classify import Classifier, Outcome
from pixiu_py.filters.llm.promptcache.commit import Commits
from pixiu_py.filters.llm.promptcache.config import PromptCacheConfig
from pixiu_py.filters.llm.promptcache.count import Prompt
from pixiu_py.filters.llm.promptcache.counters import make_counter
from pixiu_py.filters.llm.promptcache.markers import MARKER, MarkerError, Tiers
from pixiu_py.filters.llm.promptcache.meters import Meters
from pixiu_py.filters.llm.promptcache.outgoing import telemetry_places, without_usage_request
from pixiu_py.filters.llm.promptcache.principals import Principals, api_key
from pixiu_py.filters.llm.promptcache.usage import Split
from pixiu_py.http.exchange import Response
from pixiu_py.registry import Family, plugin
from pixiu_py.stores.ledger.base import Ledger
from pixiu_py.stores.ledger.books import Books
from pixiu_py.stores.ledger.record import Served
from pixiu_py.stores.promptcache.base import PrefixIndex
from pixiu_py.stores.promptcache.sweep import Sweeper
from pixiu_py.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.http.exchange import Exchange, Request

#: Key in ``exchange.params`` of an exchange's ``Account``.
ACCOUNT = "promptcache.account"
_MARKER = MARKER.encode()


@plugin(Family.HTTP_FILTER, "dgp.filter.llm.promptcache")
class PromptCache(HttpFilter):
    """Prompt-cache accounting: ``cache_control`` markers in, reads and writes in ``usage`` out."""

    Config: ClassVar[type[PromptCacheConfig]] = PromptCacheConfig
    config: PromptCacheConfig

    def __init__(self, config: PromptCacheConfig, context: Context) -> None:
        super().__init__(config, context)
        self._tiers = Tiers(config.enabled_ttls, config.default_ttl)
        self._telemetry = Telemetry(config.telemetry_blocks.prefixes)
        self._meters = Meters(context.metrics)
        self._tasks = Tasks("prompt cache", config.max_classifying + 1)
        self._index: PrefixIndex = config.index.make(context.registry)
        self._sweeper = Sweeper(self._index, config.sweep_interval, config.sweep_batch)
        self._counter = make_counter(config.tokenizer, context.clock, self._meters)
        self._commits = Commits(
            self._index,
            config.max_committing,
            config.commit_timeout,
            time.time,
            lambda result: self._meters.commits.inc((result,)),
        )
        self._classifier = Classifier(self._index, self._counter, time.time, self._commits.settled)
        ledger: Ledger | None = config.ledger.make(context.registry) if config.ledger is not None else None
        self._books = Books(config.tariffs, ledger, context.metrics)
        self._principals = Principals(config.principals, self._books.owner)
        self._answers = Answers(config, self._meters)
        #: Requests of nobody known are of interest, too.
        self._reads_all = ledger is not None or config.scrub_inactive

    async def start(self) -> None:
        """Open the index, the books and the counter. Raises ``StartError``."""
        await self._index.start()
        await self._books.start()
        await self._counter.start()
        self._sweeper.start()

    async def close(self) -> None:
        """Let commits end, write what waits for the books, close everything."""
        await self._tasks.close()
        await self._answers.close()
        await self._sweeper.close()
        await self._commits.close()
        await self._counter.close()
        await self._books.close()
        await self._index.close()

    # --- the request -----------------------------------------------------------------------------------------------

    async def decode(self, exchange: Exchange) -> Response | None:
        """Read the markers. Answers 400 to those that cannot be followed, and to nothing else."""
        request = exchange.request
        api = api_of(request.path) if request.method == "POST" else None
        if api is None:
            return None
        principal = self._principals.find(api_key(request.headers))
        self._meters.principals.inc(("known" if principal else "unknown",))
        document = await self._document(request, needed=bool(principal) or self._reads_all)
        model = document.get("model") if document is not None else None
        if document is None or not isinstance(model, str):
            return None
        account = Account(api, document, principal, model)
        body = request.body.peek() or b""
        account.marked = _MARKER in body
        plan: Plan | None = exchange.params.get(PLAN)
        models = (plan.models if plan is not None else ()) or (model,)
        is_enabled = bool(principal) and self._any_enabled(models)
        if is_enabled and account.marked:
            refused = self._read(exchange, account, models[0], len(body))
            if refused is not None:
                return refused
        if is_enabled or self._reads_all:
            exchange.params[ACCOUNT] = account
            self._prepare(exchange, account, body, is_enabled)
        elif account.marked:
            plan_of(exchange).edits += (account.edit,)
        return None

    async def _document(self, request: Request, *, needed: bool) -> dict[str, Any] | None:
        """The parsed body, if anybody has a use for it; None when it is no JSON object or larger than is looked at."""
        limit = self.config.max_body
        if request.body.length is not None and request.body.length > limit:
            return None
        try:
            if not needed and _MARKER not in await request.content(limit):
                return None
            document = await request.json(limit)
        except DownstreamError:
            if request.body.peek() is None:
                raise  # too large, too slow, broken off: nobody could go on with it
            return None
        return document if type(document) is dict else None

    def _read(self, exchange: Exchange, account: Account, model: str, size: int) -> Response | None:
        """Read the prompt and begin to classify it; the refusal, if a marker cannot be followed."""
        try:
            blocks, breakpoints = read(account.api, account.document, self._tiers, self._telemetry)
        except MarkerError as error:
            self._meters.rejected.inc((error.reason,))
            return refusal(account.api, str(error))
        if breakpoints:
            prompt = Prompt(account.api, account.document, blocks, breakpoints, size)
            account.prompt = prompt
            self._classify(exchange, account, model)
        return None

    def _prepare(self, exchange: Exchange, account: Account, body: bytes, is_enabled: bool) -> None:
        """What the endpoint is to be sent."""
        if is_enabled and self.config.telemetry_blocks.strip_from_prompt and self._telemetry.is_in(body):
            account.telemetry = telemetry_places(account.api, account.document, self._telemetry)
        if is_enabled or self._books.keeps_usage:
            account.asks_usage = account.api is CHAT and without_usage_request(account.document)
        if account.marked or account.telemetry or account.asks_usage:
            plan_of(exchange).edits += (account.edit,)
        if self.config.upstream_encoding == "identity":
            exchange.request.headers.ask_plain()

    def _floor(self, model: str) -> int | None:
        """Fewest tokens of a prefix of this model; None: it is not cached."""
        tariff = self._books.tariff(model, time.time())
        return tariff.min_prefix_tokens if tariff is not None else None

    def _any_enabled(self, models: Sequence[str]) -> bool:
        now = time.time()
        for model in models:  # noqa: SIM110 - mostly there is one, and a generator costs more than the look
            if self._books.tariff(model, now) is not None:
                return True
        return False

    # --- the classification ----------------------------------------------------------------------------------------

    def _classify(self, exchange: Exchange, account: Account, model: str) -> None:
        """Begin to classify for ``model``, and stop doing so for another."""
        account.drop()
        account.task = None
        account.classified_model = model
        floor = self._floor(model)
        if account.prompt is None or floor is None:
            return
        if len(self._tasks) >= self.config.max_classifying:
            account.is_refused = True
            self._meters.degraded.inc(("busy",))
            return
        prompt = account.prompt._replace(endpoint=exchange.endpoint or _candidate(exchange, model))
        account.task = self._tasks.spawn(self._timed(account.principal, model, floor, prompt), "classify")

    async def _timed(self, principal: str, model: str, floor: int, prompt: Prompt) -> Outcome:
        clock = self.context.clock
        started = clock()
        outcome = await self._classifier.classify(principal, model, floor, prompt)
        self._meters.classified(outcome, clock() - started)
        return outcome

    # --- the answer ------------------------------------------------------------------------------------------------

    async def encode(self, exchange: Exchange) -> None:
        """Let a good answer tell what was read and written."""
        account: Account | None = exchange.params.get(ACCOUNT)
        response = exchange.response
        if account is None or response is None or not 200 <= response.status < 300:
            return
        account.keeps_foreign = self.config.provider_fields == "keep"
        account.scrubs = self.config.scrub_inactive
        if exchange.attempts and not exchange.attempts[-1].status:
            account.find_out = partial(self._serve, exchange, account)
        self._serve(exchange, account)
        if not (account.is_active or self._reads_all or account.hides_usage):
            return
        if not self._answers.at_once(response, account):
            await self._answers.account(exchange, account)

    def _serve(self, exchange: Exchange, account: Account) -> None:
        """Account for the model that has answered; if that is another one than was thought, begin anew."""
        if exchange.attempts:
            account.model = exchange.attempts[-1].model or account.model
        account.is_active = bool(account.principal) and self._floor(account.model) is not None
        if account.is_active and account.prompt is not None and account.classified_model != account.model:
            self._classify(exchange, account, account.model)

    def done(self, exchange: Exchange) -> None:
        """Commit what the answer has earned, and enter it in the books."""
        account: Account | None = exchange.params.get(ACCOUNT)
        if account is None:
            return
        is_complete = exchange.end_reason == "complete"
        if account.is_active:
            self._commit(account, is_complete)
        else:
            self._meters.requests.inc(("inactive",))
        account.drop()
        if is_complete and self._books.keeps_usage:
            endpoint = exchange.attempts[-1].endpoint_id if exchange.attempts else ""
            served = Served(
                exchange.request_id, time.time(), account.principal, account.model, endpoint, exchange.status
            )
            estimated = account.is_active and account.outcome.estimated
            self._books.record(served, account.tokens, estimated=estimated)

    def _commit(self, account: Account, is_complete: bool) -> None:
        meters = self._meters
        veto = account.veto() if is_complete else "aborted"
        if veto:
            meters.requests.inc(("aborted" if veto == "aborted" else "vetoed",))
            if account.task is not None:
                meters.vetoes.inc((veto,))
            return
        outcome = account.outcome
        meters.requests.inc((outcome.name,))
        if account.saw_split:
            meters.served(account.model, Split(*account.tokens[2:]))
        if account.was_capped:
            meters.capped.inc()
        self._commits.submit(outcome)


def _candidate(exchange: Exchange, model: str) -> Endpoint | None:
    """An endpoint that could serve a model: whoever it is, its tokenizer is the model's."""
    cluster = exchange.cluster
    if cluster is None:
        return None
    return next(iter(cluster.candidates(model if cluster.restricts_models else "")), None)


def refusal(api: Api, message: str) -> Response:
    """The answer to markers that cannot be followed, in the client's API shape."""
    error = {
        "message": message,
        "type": "invalid_request_error",
        "code": "invalid_cache_control",
        "param": MARKER,
    }
    document: dict[str, Any] = {"error": error}
    if api is MESSAGES:
        document = {"type": "error", **document}
    return Response.json(400, document)
