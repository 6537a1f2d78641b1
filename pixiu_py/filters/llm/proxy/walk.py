"""The fallback loop: from model to model and from endpoint to endpoint, for one request."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from pixiu_py.errors import UpstreamError, UpstreamTimeout
from pixiu_py.filters.llm.dialect import Dialect, dialect_of
from pixiu_py.filters.llm.model_name import shortened
from pixiu_py.filters.llm.plan import PLAN, Plan
from pixiu_py.filters.llm.proxy import gate
from pixiu_py.filters.llm.proxy.failure import FailedResponse, failed_stream, last_answer, read_failure, refusal
from pixiu_py.filters.llm.proxy.stream import EventStreamBody
from pixiu_py.filters.llm.proxy.verdict import Blame, Verdict, blame, judge, pause, retry_after
from pixiu_py.filters.proxy import UPSTREAM_HOST, TimedBody, no_endpoint
from pixiu_py.http.exchange import Attempt, Response
from pixiu_py.http.local_reply import local_reply
from pixiu_py.http.splice import put_string
from pixiu_py.upstream.attempt import attempt
from pixiu_py.upstream.head import endpoint_credentials, forwarded, request_head
from pixiu_py.upstream.order import first_available, first_endpoint, next_endpoint, wait_until_ready
from pixiu_py.upstream.retry import NoRetry, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from pixiu_py.clusters.cluster import Cluster
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.filters.llm.proxy.filter import LlmProxy
    from pixiu_py.http.body import Body
    from pixiu_py.http.exchange import Exchange
    from pixiu_py.upstream.response import UpstreamResponse

#: Key in ``exchange.params`` under which a filter may name the endpoint to begin with.
PREFERRED_ENDPOINT = "llm_preferred_endpoint_id"

_ONE_TRY = NoRetry(None)


class Walk:
    """One request's way through the endpoints of its cluster, for one model after the other if a plan names several."""

    __slots__ = (
        "_asked",
        "_body",
        "_candidates",
        "_cluster",
        "_deadline",
        "_error",
        "_exchange",
        "_failed",
        "_model",
        "_models",
        "_named",
        "_onward",
        "_plan",
        "_proxy",
        "_status",
        "_tried",
        "_verdict",
    )

    def __init__(
        self, proxy: LlmProxy, exchange: Exchange, cluster: Cluster, body: bytes, model: str, deadline: float
    ) -> None:
        self._proxy = proxy
        self._exchange = exchange
        self._cluster = cluster
        self._body = body
        #: The model that the body names, if that is known.
        self._named = model
        self._deadline = deadline
        self._plan: Plan | None = exchange.params.get(PLAN)
        self._onward = forwarded(exchange.request.headers)
        self._tried: set[Endpoint] = set()
        #: The planned models whose turn has not come yet.
        self._models: tuple[str, ...] = () if self._plan is None else self._plan.models
        if self._models:
            self._turn_to_next_model()
        else:
            self._model = model
            self._candidates = cluster.candidates(model)
        # The outcome of the latest attempt.
        self._status = 0
        self._verdict = Verdict.RETRY
        self._asked: float | None = None
        self._error: UpstreamError | None = None
        self._failed: FailedResponse | None = None

    @property
    def dialect(self) -> Dialect:
        """The API that the client speaks."""
        return dialect_of(self._exchange.request.path)

    def answer(self) -> Coroutine[Any, Any, Response]:
        """The first good answer of an endpoint, or the most informative failure. Raises ``UpstreamTimeout`` (total)."""
        return self._answer_in_time() if self._deadline else self._answer()

    async def _answer_in_time(self) -> Response:
        try:
            async with asyncio.timeout_at(self._deadline):
                return await self._answer()
        except TimeoutError:
            raise UpstreamTimeout("total") from None

    async def _answer(self) -> Response:
        while True:
            endpoint = self._first()
            while endpoint is not None:
                self._tried.add(endpoint)
                response = await self._at_endpoint(endpoint)
                if response is not None:
                    return response
                endpoint = self._next(endpoint)
            if not self._models or self._spent():
                break
            self._turn_to_next_model()
            self._tried.clear()  # what failed for one model may well serve another
        exchange = self._exchange
        if not exchange.attempts:
            return self._nobody()
        exchange.error = self._error
        if self._failed is None and self._error is not None:
            exchange.end_reason = self._error.kind
        wait = wait_until_ready(self._candidates, self._proxy.context.clock())
        return last_answer(self._failed, self._error or UpstreamError(), wait, len(exchange.attempts))

    # --- which model, which endpoint -------------------------------------------------------------------------------

    def _turn_to_next_model(self) -> None:
        """The next of the planned models; one whose endpoints all cool down has to wait for those that can answer now."""
        candidates = self._cluster.candidates
        models = self._models
        self._model = model = models[0]
        self._candidates = found = candidates(model)
        if len(models) == 1:
            self._models = ()
            return
        if not found or not found[0].cooldown.untroubled:
            now = self._proxy.context.clock()
            ready = (model for model in models if first_available(candidates(model), now) is not None)
            self._model = model = next(ready, model)
            self._candidates = candidates(model)
        self._models = tuple([other for other in models if other != model])

    def _spent(self) -> bool:
        """Whether the plan allows no further model."""
        plan = self._plan
        if plan is None:
            return False
        if plan.most_attempts and len(self._exchange.attempts) >= plan.most_attempts:
            return True
        return bool(plan.window) and self._proxy.context.clock() >= self._exchange.started + plan.window

    def _first(self) -> Endpoint | None:
        ranks = self._plan is not None and self._plan.rank is not None
        if not ranks and PREFERRED_ENDPOINT not in self._exchange.params:
            picked = self._cluster.pick(self._exchange, self._model)
            if picked is not None and picked.cooldown.untroubled:
                return picked  # nearly always
            return first_endpoint(self._candidates, None, picked, self._proxy.context.clock())
        now = self._proxy.context.clock()
        preferred_id = self._exchange.params.get(PREFERRED_ENDPOINT)
        preferred = self._cluster.find(preferred_id) if preferred_id else None
        if preferred is not None and preferred not in self._candidates:
            preferred = None
        if preferred is None:
            preferred = first_available(self._ranked(), now)
        picked = self._cluster.pick(self._exchange, self._model)
        return first_endpoint(self._candidates, preferred, picked, now)

    def _next(self, endpoint: Endpoint) -> Endpoint | None:
        if not endpoint.fallback:
            return None
        now = self._proxy.context.clock()
        ranked = first_available(self._ranked(), now)
        return ranked if ranked is not None else next_endpoint(self._candidates, endpoint, self._tried, now)

    def _ranked(self) -> Sequence[Endpoint]:
        """What the plan would try next, best first."""
        if self._plan is None or self._plan.rank is None:
            return ()
        return self._plan.rank([endpoint for endpoint in self._candidates if endpoint not in self._tried])

    def _elsewhere(self, endpoint: Endpoint) -> bool:
        """Whether anyone could answer if ``endpoint`` does not."""
        if self._models and not self._spent() and any(map(self._cluster.candidates, self._models)):
            return True
        if not endpoint.fallback:
            return False
        return next_endpoint(self._candidates, endpoint, self._tried, self._proxy.context.clock()) is not None

    def _nobody(self) -> Response:
        if self._model and not self._cluster.serves(self._model):
            return local_reply(404, f"no endpoint serves the model {shortened(self._model)!r}")
        raise no_endpoint(self._exchange, "no endpoint is available")

    # --- one endpoint ----------------------------------------------------------------------------------------------

    async def _at_endpoint(self, endpoint: Endpoint) -> Response | None:
        """Try one endpoint as often as its policy says. None: it has failed, and this has been held against it."""
        policy = endpoint.retry or _ONE_TRY
        number = 0
        while True:
            number += 1
            response = await self._attempt(endpoint, policy)
            if response is not None:
                if not endpoint.cooldown.untroubled:
                    endpoint.cooldown.succeeded(self._proxy.context.clock())
                return response
            if number >= policy.tries or self._verdict is Verdict.FALL_BACK:
                break
            delay = policy.delay(number, self._proxy.context.random)
            wait = pause(delay, self._asked, policy.max_retry_after, self._elsewhere(endpoint))
            if wait is None:
                break
            try:
                await asyncio.sleep(wait)
            except asyncio.CancelledError:
                endpoint.cooldown.released()
                raise
        self._hold_against(endpoint, policy, number)
        return None

    def _hold_against(self, endpoint: Endpoint, policy: RetryPolicy, number: int) -> None:
        now = self._proxy.context.clock()
        verdict = blame(self._status, self._verdict, own_key=endpoint.api_key is not None)
        if verdict is Blame.NOTHING:
            endpoint.cooldown.released()
        elif verdict is Blame.FAILURE:
            endpoint.cooldown.failed(now, self._exchange.attempts[-1].error)
        asked = self._asked
        if asked is None and verdict is Blame.REST:
            asked = policy.delay(number, self._proxy.context.random)
        if asked:
            endpoint.cooldown.rest(now, min(asked, self._proxy.config.longest_rest))

    # --- one attempt -----------------------------------------------------------------------------------------------

    async def _attempt(self, endpoint: Endpoint, policy: RetryPolicy) -> Response | None:
        proxy = self._proxy
        exchange = self._exchange
        clock = proxy.context.clock
        record = Attempt(endpoint.id, endpoint.address, endpoint.cluster, model=self._model)
        exchange.attempts.append(record)
        self._status, self._asked, self._verdict = 0, None, Verdict.RETRY
        started = clock()
        if not endpoint.cooldown.untroubled:
            endpoint.cooldown.begin(started)
        proxy.take(exchange, endpoint)
        response: Response | None = None
        try:
            head, body = self._request(endpoint)
            with_body = exchange.request.method != "HEAD"
            upstream = await attempt(proxy.pools.get(endpoint), head, body, proxy.timeouts, with_body=with_body)
            record.status = self._status = upstream.status
            response = await self._judged(endpoint, policy, upstream, record)
        except UpstreamError as error:
            self._status = 0
            self._error = error
            record.error = error.kind
        except BaseException:
            record.error = "cancelled"
            endpoint.cooldown.released()
            raise
        finally:
            record.seconds = clock() - started
            if response is None:
                proxy.leave(exchange)
        return response

    def _request(self, endpoint: Endpoint) -> tuple[bytes, bytes]:
        """The bytes of the request for one endpoint: everything that is the endpoint's own is put in here."""
        request = self._exchange.request
        body = self._body
        name = endpoint.models.get(self._model, self._model)
        if name != self._named:
            body = put_string(body, "model", name)
        if self._plan is not None:
            for edit in self._plan.edits:
                body = edit(body, endpoint, self._model)
        framing = b"Content-Length: %d\r\n" % len(body) if body or request.method == "POST" else b""
        block, credentials = self._onward
        credentials = endpoint_credentials(endpoint, credentials)
        host = self._exchange.params.get(UPSTREAM_HOST, "")
        return request_head(request.method, endpoint, request.target, block, credentials, framing, host), body

    async def _judged(
        self, endpoint: Endpoint, policy: RetryPolicy, upstream: UpstreamResponse, record: Attempt
    ) -> Response | None:
        """The response for the client, or None when this attempt has failed."""
        fall_back_on = self._proxy.fall_back_on
        status = upstream.status
        self._verdict = judge(status, policy.retry_on, fall_back_on)
        if self._verdict is not Verdict.ANSWER:
            record.error = "status"
            self._asked = retry_after(upstream.headers.get("retry-after"), time.time())
            self._error = UpstreamError("the endpoint answered with an error")
            config = self._proxy.config
            self._failed = await read_failure(upstream, config.failed_body_limit, config.failed_body_timeout, endpoint)
            return None
        events = upstream.is_event_stream
        if status >= 400 and endpoint.api_key is not None and not events and self._exchange.request.method != "HEAD":
            config = self._proxy.config
            answer = await refusal(upstream, endpoint, config.failed_body_limit, config.failed_body_timeout)
            if answer is not None:
                return answer
        if status < 300 and (events or not upstream.begun) and self._elsewhere(endpoint):
            config = self._proxy.config
            limits = gate.Limits(config.first_event_hold, config.event_limit)
            refused = await gate.refused(upstream, events, limits, self._proxy.context.clock)
            if refused is not None and not self._accepted(refused, endpoint, policy, upstream):
                return None
        whole = None if events else upstream.take_whole()
        if whole is not None:
            return Response(status, upstream.headers, whole, upstream.reason)
        body: Body = TimedBody(upstream, self._deadline) if self._deadline else upstream
        if events:
            body = EventStreamBody(body, self.dialect, self._exchange, self._proxy.config.event_limit)
        return Response(status, upstream.headers, body, upstream.reason)

    def _accepted(
        self, refused: tuple[int, str, bytes], endpoint: Endpoint, policy: RetryPolicy, upstream: UpstreamResponse
    ) -> bool:
        """Whether a stream that begins with an error is the answer all the same: it is when the client is at fault."""
        status, message, held = refused
        self._status = status
        self._verdict = judge(status, policy.retry_on, self._proxy.fall_back_on)
        if self._verdict is Verdict.ANSWER:
            upstream.unread(held)
            return True
        self._exchange.attempts[-1].error = "stream_error"
        upstream.abort()
        self._failed = failed_stream(status, message, endpoint)
        return False
