"""Counts tokens, times and attempts of LLM calls by reading along: the client's bytes are neither changed nor delayed.

Counters have Pixiu's names and labels, so its dashboards go on working; histograms are new. ``exchange.params["usage"]``
holds the ``Usage`` of an answer from its end on, for the access log and for other filters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import structlog
from msgspec import Meta

from pixiu_py.config.types import Model, Size, doc
from pixiu_py.filters.base import Context, HttpFilter
from pixiu_py.filters.llm.reading import EventReading, Watch, watch
from pixiu_py.filters.llm.usage import USAGE, Usage
from pixiu_py.http.sse import MAX_EVENT
from pixiu_py.observability.metrics import Metrics
from pixiu_py.registry import Family, plugin

if TYPE_CHECKING:
    from pixiu_py.http.exchange import Attempt, Exchange

log = structlog.get_logger("pixiu_py.filters.tokenizer")

UNKNOWN = "unknown"
_WATCH = "tokenizer.watch"


class TokenizerConfig(Model, frozen=True):
    """Config of ``dgp.filter.llm.tokenizer``."""

    log_to_console: Annotated[bool, doc("Log the usage of every answer.")] = False
    max_document: Annotated[Size, doc("Largest JSON answer that is looked at.")] = 4 * 2**20
    max_event: Annotated[Size, Meta(ge=1024, description="Largest event of a stream that is looked at.")] = MAX_EVENT
    max_decoded: Annotated[Size, doc("Most bytes that are decompressed of one answer.")] = 64 * 2**20


class TokenMetrics:
    """The metrics, under Pixiu's names; those without a counterpart there are marked."""

    def __init__(self, metrics: Metrics) -> None:
        endpoint = ("cluster_name", "endpoint_id", "endpoint_address")
        model = ("model", "cluster_name")
        cluster = ("cluster_name",)
        counter, histogram = metrics.counter, metrics.histogram
        self.attempts = counter("pixiu_llm_upstream_requests_total", "Requests to endpoints.", endpoint)
        self.successes = counter(
            "pixiu_llm_upstream_requests_success_total",
            "Requests to endpoints that succeeded.",
            (*endpoint, "status_code"),
        )
        self.failures = counter(
            "pixiu_llm_upstream_requests_failure_total",
            "Requests to endpoints that failed.",
            (*endpoint, "status_code", "error_type"),
        )
        self.duration = counter(
            "pixiu_llm_total_duration_microseconds_sum_total",
            "Time from request to last byte.",
            ("cluster_name", "status_code"),
        )
        self.prompt = counter("pixiu_llm_prompt_tokens_total", "Prompt tokens.", model)
        self.completion = counter("pixiu_llm_completion_tokens_total", "Completion tokens.", model)
        self.total = counter("pixiu_llm_total_tokens_total", "Tokens in all.", model)
        self.last_token_sum = counter(
            "pixiu_llm_time_to_last_token_milliseconds_sum_total", "Time from request to last token.", cluster
        )
        self.streams = counter("pixiu_llm_streaming_requests_total", "Answers that were streamed.", cluster)
        # Not in Pixiu:
        self.cached = counter("pixiu_llm_cached_tokens_total", "Prompt tokens read from a prompt cache.", model)
        self.uncounted = counter(
            "pixiu_llm_uncounted_responses_total", "Answers without a token count, and why.", ("cluster_name", "reason")
        )
        self.first_token = histogram(
            "pixiu_llm_time_to_first_token_seconds", "Time from request to first token of a stream.", model
        )
        self.last_token = histogram(
            "pixiu_llm_time_to_last_token_seconds", "Time from request to last token of a stream.", model
        )

    def count_attempt(self, attempt: Attempt) -> None:
        """One try at an endpoint."""
        endpoint = (attempt.cluster or UNKNOWN, attempt.endpoint_id or UNKNOWN, attempt.address or UNKNOWN)
        status = str(attempt.status)
        self.attempts.inc(endpoint)
        if attempt.success:
            self.successes.inc((*endpoint, status))
        else:
            self.failures.inc((*endpoint, status, attempt.error))

    def count_usage(self, usage: Usage, cluster: str) -> None:
        """The tokens of one answer."""
        labels = (usage.model or UNKNOWN, cluster)
        self.prompt.inc(labels, usage.prompt_tokens)
        self.completion.inc(labels, usage.completion_tokens)
        self.total.inc(labels, usage.total_tokens)
        if usage.cached_tokens:
            self.cached.inc(labels, usage.cached_tokens)

    def count_stream(self, first: float, last: float, model: str, cluster: str) -> None:
        """The times of one stream, in seconds since the request came."""
        self.streams.inc((cluster,))
        self.last_token_sum.inc((cluster,), round(last * 1000))
        self.first_token.observe(first, (model, cluster))
        self.last_token.observe(last, (model, cluster))


@plugin(Family.HTTP_FILTER, "dgp.filter.llm.tokenizer")
class Tokenizer(HttpFilter):
    """Counts tokens, times and attempts of LLM calls."""

    Config = TokenizerConfig
    rewrites_body = False

    def __init__(self, config: TokenizerConfig, context: Context) -> None:
        super().__init__(config, context)
        self._metrics = TokenMetrics(context.metrics)
        self._clock = context.clock

    def encode(self, exchange: Exchange) -> None:
        """Begin to read along with a successful answer."""
        response = exchange.response
        if response is None or not 200 <= response.status < 300 or exchange.request.method == "HEAD":
            return
        config: TokenizerConfig = self.config
        found = watch(response.headers, config.max_document, config.max_event, config.max_decoded)
        if found is not None:
            exchange.params[_WATCH] = found

    def encode_chunk(self, exchange: Exchange, chunk: bytes) -> bytes:
        """Read along."""
        found: Watch | None = exchange.params.get(_WATCH)
        if found is not None:
            found.feed(chunk, self._clock())
        return chunk

    def encode_end(self, exchange: Exchange) -> bytes:
        """The answer is complete: tell the other filters what it cost."""
        found: Watch | None = exchange.params.get(_WATCH)
        if found is not None:
            found.close(self._clock())
            _publish(exchange, found)
        return b""

    def done(self, exchange: Exchange) -> None:
        """Count everything, also of an answer that broke off."""
        metrics = self._metrics
        for attempt in exchange.attempts:
            metrics.count_attempt(attempt)
        cluster = exchange.cluster.name if exchange.cluster is not None else UNKNOWN
        elapsed = self._clock() - exchange.started
        metrics.duration.inc((cluster, str(exchange.status)), round(elapsed * 1e6))
        found: Watch | None = exchange.params.get(_WATCH)
        if found is not None:
            self._count_answer(exchange, found, cluster)

    def _count_answer(self, exchange: Exchange, found: Watch, cluster: str) -> None:
        reading = found.reading
        usage = _publish(exchange, found)
        if usage is not None:
            self._metrics.count_usage(usage, cluster)
        else:
            self._metrics.uncounted.inc((cluster, found.problem or ("no_usage" if found.complete else "incomplete")))
        if usage is not None and self.config.log_to_console:
            log.info("usage", model=usage.model, cluster=cluster, tokens=dict(reading.collector.fields))
        if isinstance(reading, EventReading) and reading.first_token:
            model = reading.collector.model or (exchange.attempts[-1].model if exchange.attempts else "") or UNKNOWN
            started = exchange.started
            self._metrics.count_stream(reading.first_token - started, reading.last_token - started, model, cluster)


def _publish(exchange: Exchange, found: Watch) -> Usage | None:
    """Put what is known of the usage where others look for it."""
    usage = found.reading.collector.usage
    if usage is not None:
        exchange.params[USAGE] = usage
    return usage
