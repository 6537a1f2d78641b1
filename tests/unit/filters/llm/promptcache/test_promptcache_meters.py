"""What is counted where."""

from __future__ import annotations

from pixiu_py.filters.llm.promptcache.classify import Outcome
from pixiu_py.filters.llm.promptcache.meters import Meters
from pixiu_py.filters.llm.promptcache.usage import Split
from pixiu_py.observability.metrics import Metrics


def test_rules_and_faults_are_counted_apart() -> None:
    meters = Meters(Metrics())
    meters.classified(Outcome(), 0.1)
    meters.classified(Outcome(skipped="below_floor"), 0.1)
    meters.classified(Outcome(skipped="index", degraded=True), 0.1)
    assert meters.skipped.series == {("below_floor",): 1}
    assert meters.degraded.series == {("index",): 1}


def test_tokens_are_counted_by_class() -> None:
    meters = Meters(Metrics())
    meters.served("m", Split(7, 0, 3))
    meters.served("m", Split(1))
    assert meters.tokens.series == {("m", "read"): 8, ("m", "write_1h"): 3}
