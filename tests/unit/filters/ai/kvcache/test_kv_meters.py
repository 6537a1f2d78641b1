"""The metrics of the filter."""

from __future__ import annotations

from pixiu_py.filters.ai.kvcache.meters import Meters
from pixiu_py.filters.ai.kvcache.prompt import CHUNK
from pixiu_py.observability.metrics import Metrics
from tests.fakes.clusters import make_endpoints
from tests.fakes.kv import chat, prefix_index, text


def test_lookups_are_counted_by_result() -> None:
    """Matched tokens of hits only, the time of all."""
    metrics = Metrics()
    meters = Meters(metrics, "prefix")
    meters.looked_up("hit", 500, 0.0002)
    meters.looked_up("timeout", 0, 0.05)
    meters.count("no_prompt")
    shown = metrics.render().decode()
    for result in ("hit", "timeout", "no_prompt"):
        assert f'pixiu_py_kvcache_lookups_total{{index="prefix",result="{result}"}} 1\n' in shown
    assert 'pixiu_py_kvcache_matched_tokens_count{index="prefix"} 1\n' in shown
    assert 'pixiu_py_kvcache_matched_tokens_sum{index="prefix"} 500\n' in shown
    assert 'pixiu_py_kvcache_routing_seconds_count{index="prefix"} 2\n' in shown


def test_the_size_is_read_while_the_index_lives() -> None:
    """And no longer."""
    metrics = Metrics()
    meters = Meters(metrics, "prefix")
    index = prefix_index()
    index.routed(chat(text("x", 4 * CHUNK)), make_endpoints(1)[0])
    meters.watch(index)
    assert 'pixiu_py_kvcache_index_size{index="prefix"} 4\n' in metrics.render().decode()
    meters.close()
    assert "pixiu_py_kvcache_index_size{" not in metrics.render().decode()
