"""Plain requests of which no two have the same head, and neither have their answers: nothing can be recognised."""

from __future__ import annotations

from benchmarks.bench import Bench, Result
from benchmarks.scenarios.plain import METRICS, compare

TITLE = "Chat completion, 1 KB up and down, 64 connections, an id of its own in every head"


def run(bench: Bench) -> Result:
    return compare(bench, Result("plain_new", TITLE, METRICS), new=True)
