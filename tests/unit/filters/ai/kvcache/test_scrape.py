"""From metrics, as engines really write them, to a load."""

from __future__ import annotations

import pytest

from pixiu_py.filters.ai.kvcache.load import Load
from pixiu_py.filters.ai.kvcache.scrape import load_of
from tests.fakes import engine_data


def test_vllm() -> None:
    """Recorded with twelve requests at an engine that runs eight at a time."""
    assert load_of(engine_data.text("vllm_metrics.prom"), 7.0) == Load(8, 4, 0.008789330729087164, at=7.0)


def test_llama_server() -> None:
    """It tells no cache usage; that is unknown, not 0."""
    text = engine_data.text("llama_server_metrics.prom").replace("processing 0", "processing 3")
    assert load_of(text, 7.0) == Load(3, 0, None, at=7.0)


def test_old_name_of_the_cache_usage() -> None:
    """vLLM has renamed it."""
    text = engine_data.text("vllm_metrics.prom").replace("vllm:kv_cache_usage_perc{", "vllm:gpu_cache_usage_perc{")
    assert load_of(text, 0.0) == Load(8, 4, 0.008789330729087164)


def test_several_ranks() -> None:
    """Data-parallel ranks report one by one: requests add up, the fullest cache counts."""
    text = """
vllm:num_requests_running{engine="0",model_name="a } 9"} 2 1795225950
vllm:num_requests_running{engine="1"} 3
vllm:num_requests_waiting{engine="1"} 1
vllm:kv_cache_usage_perc{engine="0"} 0.25
vllm:kv_cache_usage_perc{engine="1"} 1.5
"""
    assert load_of(text, 0.0) == Load(5, 1, 1.0)


@pytest.mark.parametrize(
    "text", ["", "garbage", "process_cpu_seconds_total 1", "vllm:num_requests_running", "vllm:num_requests_running NaN"]
)
def test_what_is_no_engine(text: str) -> None:
    """A page that tells nothing about requests gives no load, and no error."""
    assert load_of(text, 0.0) is None
