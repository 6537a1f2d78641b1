"""Rules of Pixiu's older metrics filter: real status and time, to be scraped."""

from __future__ import annotations

import pytest

from pixiu_py.filters.http.prometheusmetric import CollectRules, PrometheusMetric, PrometheusMetricConfig
from tests.fakes.exchange import make_context, make_exchange


async def test_everything_is_counted_under_pixius_names() -> None:
    """The status that was sent and the whole time, where Pixiu has 0 for both."""
    context = make_context(lambda: 3.0)
    exchange = make_exchange("PUT", "/users/4711", {"Host": "api.test"}, b"x" * 2048)
    await exchange.request.body.read(4096)
    exchange.status = 201
    exchange.bytes_sent = 2049
    PrometheusMetric(PrometheusMetricConfig(), context).done(exchange)
    text = context.metrics.render().decode()
    assert 'pixiu_requests_total{code="201",method="PUT",host="api.test",url="none"} 1\n' in text
    labels = 'code="201",method="PUT",url="none"'
    assert f"pixiu_request_duration_seconds_sum{{{labels}}} 3\n" in text
    assert f'pixiu_request_size_bytes_bucket{{{labels},le="2048"}} 1\n' in text
    assert f'pixiu_response_size_bytes_bucket{{{labels},le="2048"}} 0\n' in text
    assert f'pixiu_response_size_bytes_bucket{{{labels},le="5120"}} 1\n' in text


def test_a_file_that_does_not_push_is_accepted() -> None:
    rules = CollectRules(metric_path="/metrics", push_gateway_url="http://127.0.0.1:9091", push_job_name="pixiu")
    assert not PrometheusMetricConfig(metric_collect_rules=rules).metric_collect_rules.counter_push


def test_pushing_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="let Prometheus scrape its port"):
        CollectRules(counter_push=True)
