"""Pixiu's request metrics, under Pixiu's names; ``url`` is the path pattern of the route, where Pixiu has the path."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta

from pixiu_py.config.types import Model, doc
from pixiu_py.filters.base import Context, HttpFilter
from pixiu_py.http.exchange import Exchange
from pixiu_py.observability.metrics import SECONDS
from pixiu_py.observability.traffic import Hosts, method_label, route_label
from pixiu_py.registry import Family, plugin

_NO_PUSH: Final = "metrics are not pushed here; switch `metric` on and let Prometheus scrape its port"


class MetricConfig(Model, frozen=True):
    """Config of ``dgp.filter.http.metric``."""

    refused_keys: ClassVar[dict[str, str]] = {"push_config": _NO_PUSH}

    mode: Annotated[Literal["pull", "push"], doc("Only pull: metrics are read from the port of `metric`.")] = "pull"
    max_hosts: Annotated[
        int, Meta(ge=1, description="Hosts with a label of their own; the others are counted as `other`.")
    ] = 100

    def __post_init__(self) -> None:
        if self.mode != "pull":
            raise ValueError(_NO_PUSH)


@plugin(Family.HTTP_FILTER, "dgp.filter.http.metric")
class Metric(HttpFilter):
    """Counts requests, their times and their sizes."""

    Config = MetricConfig

    def __init__(self, config: MetricConfig, context: Context) -> None:
        super().__init__(config, context)
        labels = ("code", "method", "url", "host")
        counter = context.metrics.counter
        self._hosts = Hosts(config.max_hosts)
        self._count = counter("pixiu_request_count", "Requests.", labels)
        self._elapsed = counter("pixiu_request_elapsed", "Milliseconds from request to last byte.", labels)
        self._errors = counter("pixiu_request_error_count", "Errors that no endpoint answered with.")
        self._request_bytes = counter("pixiu_request_content_length", "Bytes of request bodies.", labels)
        self._response_bytes = counter("pixiu_response_content_length", "Bytes of response bodies.", labels)
        self._time = context.metrics.histogram(
            "pixiu_process_time_millicec",
            "Milliseconds from request to last byte.",
            labels,
            tuple(bound * 1000 for bound in SECONDS),
        )

    def done(self, exchange: Exchange) -> None:
        """Count the exchange."""
        labels = (str(exchange.status), method_label(exchange), route_label(exchange), self._hosts.label(exchange))
        elapsed = round((self.context.clock() - exchange.started) * 1000)
        self._count.inc(labels)
        self._elapsed.inc(labels, elapsed)
        self._request_bytes.inc(labels, exchange.request.body.received)
        self._response_bytes.inc(labels, exchange.bytes_sent)
        self._time.observe(elapsed, labels)
        if failed_here(exchange):
            self._errors.inc()


def failed_here(exchange: Exchange) -> bool:
    """True for an exchange that broke, and for an error status that is not an endpoint's own."""
    answered = bool(exchange.attempts) and exchange.attempts[-1].success
    return exchange.error is not None or (exchange.status >= 400 and not answered)
