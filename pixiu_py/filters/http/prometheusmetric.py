"""Pixiu's older metrics filter: the same names, to be scraped; they are not pushed."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, field

from pixiu_py.config.types import Model, doc
from pixiu_py.filters.base import Context, HttpFilter
from pixiu_py.http.exchange import Exchange
from pixiu_py.observability.traffic import Hosts, method_label, route_label
from pixiu_py.registry import Family, plugin

_KB: Final = 1024.0
_MB: Final = 1024 * _KB
#: Upper bounds in bytes.
SIZES: Final = (_KB, 2 * _KB, 5 * _KB, 10 * _KB, 100 * _KB, 500 * _KB, _MB, 2.5 * _MB, 5 * _MB, 10 * _MB)


class CollectRules(Model, frozen=True):
    """How Pixiu hands its metrics on."""

    counter_push: Annotated[bool, doc("Only false: there is no push to a Pushgateway.")] = False
    enable: Annotated[bool, doc("Accepted and unused, as in Pixiu.")] = True
    metric_path: Annotated[str, doc("Accepted and unused: the page is /metrics.")] = ""
    exporter_port: Annotated[int, doc("Accepted and unused: the port is metric.prometheus_port.")] = 0
    push_gateway_url: Annotated[str, doc("Accepted and unused.")] = ""
    push_interval_threshold: Annotated[int, doc("Accepted and unused.")] = 0
    push_job_name: Annotated[str, doc("Accepted and unused.")] = ""

    def __post_init__(self) -> None:
        if self.counter_push:
            raise ValueError(
                "counter_push: metrics are not pushed here; set it to false, switch `metric` on and let Prometheus "
                "scrape its port"
            )


class PrometheusMetricConfig(Model, frozen=True):
    """Config of ``dgp.filter.http.prometheusmetric``."""

    metric_collect_rules: Annotated[CollectRules, doc("How Pixiu hands its metrics on.")] = field(
        default_factory=CollectRules
    )
    max_hosts: Annotated[
        int, Meta(ge=1, description="Hosts with a label of their own; the others are counted as `other`.")
    ] = 100


@plugin(Family.HTTP_FILTER, "dgp.filter.http.prometheusmetric")
class PrometheusMetric(HttpFilter):
    """Counts requests, their times and their sizes, as an older filter of Pixiu's names them."""

    Config = PrometheusMetricConfig

    def __init__(self, config: PrometheusMetricConfig, context: Context) -> None:
        super().__init__(config, context)
        labels = ("code", "method", "url")
        histogram = context.metrics.histogram
        self._hosts = Hosts(config.max_hosts)
        self._count = context.metrics.counter("pixiu_requests_total", "Requests.", ("code", "method", "host", "url"))
        self._seconds = histogram("pixiu_request_duration_seconds", "Time from request to last byte.", labels)
        self._request_size = histogram("pixiu_request_size_bytes", "Size of request bodies.", labels, SIZES)
        self._response_size = histogram("pixiu_response_size_bytes", "Size of response bodies.", labels, SIZES)

    def done(self, exchange: Exchange) -> None:
        """Count the exchange."""
        code, method, url = str(exchange.status), method_label(exchange), route_label(exchange)
        self._count.inc((code, method, self._hosts.label(exchange), url))
        labels = (code, method, url)
        self._seconds.observe(self.context.clock() - exchange.started, labels)
        self._request_size.observe(exchange.request.body.received, labels)
        self._response_size.observe(exchange.bytes_sent, labels)
