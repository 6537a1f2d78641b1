"""Rules of Pixiu's request metrics: counted once, at the end, under labels that are bounded."""

from __future__ import annotations

import msgspec
import pytest

from pixiu_py.errors import ClientGone
from pixiu_py.filters.http.metric import Metric, MetricConfig, failed_here
from pixiu_py.http.exchange import Attempt, Exchange
from tests.fakes.exchange import make_context, make_exchange


def over(status: int = 200, sent: int = 0) -> Exchange:
    """An exchange that is over."""
    exchange = make_exchange("POST", "/users/4711", {"Host": "API.test"}, b"four")
    exchange.status = status
    exchange.bytes_sent = sent
    return exchange


async def test_everything_is_counted_under_pixius_names() -> None:
    """Times in milliseconds; the body's bytes as they came, whoever read them."""
    context = make_context(lambda: 0.25)
    filter_ = Metric(MetricConfig(), context)
    exchange = over(sent=11)
    await exchange.request.body.read(100)
    filter_.done(exchange)
    labels = '{code="200",method="POST",url="none",host="api.test"}'
    text = context.metrics.render().decode()
    assert f"pixiu_request_count{labels} 1\n" in text
    assert f"pixiu_request_elapsed{labels} 250\n" in text
    assert f"pixiu_request_content_length{labels} 4\n" in text
    assert f"pixiu_response_content_length{labels} 11\n" in text
    assert f"pixiu_process_time_millicec_sum{labels} 250\n" in text
    assert 'host="api.test",le="250"} 1\n' in text
    assert "\npixiu_request_error_count " not in text


def test_invented_hosts_share_a_label() -> None:
    context = make_context()
    filter_ = Metric(MetricConfig(max_hosts=1), context)
    for host in ("a.test", "b.test", "c.test"):
        filter_.done(make_exchange(headers={"Host": host}))
    assert 'pixiu_request_count{code="0",method="GET",url="none",host="other"} 2\n' in context.metrics.render().decode()


def test_an_error_is_what_no_endpoint_answered() -> None:
    """An endpoint's own 500 is its answer; a 429 of ours, a failed call and a broken connection are errors."""
    local, answered, failed, gone = over(429), over(500), over(500), over(200)
    answered.attempts = [Attempt("a", "", "c", 500)]
    failed.attempts = [Attempt("a", "", "c", 500, "status")]
    gone.error = ClientGone()
    assert [failed_here(exchange) for exchange in (over(), local, answered, failed, gone)] == [
        False,
        True,
        False,
        True,
        True,
    ]
    context = make_context()
    Metric(MetricConfig(), context).done(local)
    assert "\npixiu_request_error_count 1\n" in context.metrics.render().decode()


def test_pushing_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="let Prometheus scrape"):
        MetricConfig(mode="push")
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"push_config": {}}, MetricConfig)
    assert "scrape" in MetricConfig.refused_keys["push_config"]
