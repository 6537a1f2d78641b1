"""Which endpoint a prompt goes to: cached tokens against load. Pure; the filter gathers the facts.

Everything is measured in tokens of prefill, the work that a hit saves and that a queue consists of. The endpoint with
the lowest cost wins:

    cost = missing + pending_weight · pending + in_flight_weight · in_flight + waiting_weight · waiting + work_weight · work

So a request follows its prefix as long as what that saves outweighs what it would wait for; where nobody holds anything
the least busy endpoint wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pixiu_py.filters.ai.kvcache.config import ScoreConfig


class Facts(NamedTuple):
    """What is known of one endpoint when a prompt has to be placed. Tokens, and numbers of requests."""

    #: Leading tokens of the prompt that its cache holds.
    matched: int = 0
    #: Uncached tokens that this gateway has sent it and that are not answered yet.
    pending: float = 0.0
    #: Requests that this gateway has under way there.
    in_flight: int = 0
    #: Uncached tokens that this gateway has sent it lately, fading.
    work: float = 0.0
    #: Requests in the engine's own queue, whoever sent them.
    waiting: int = 0
    #: Share of its KV cache that is in use.
    usage: float = 0.0


def cost(length: int, facts: Facts, weights: ScoreConfig) -> float:
    """What it costs to send a prompt of ``length`` tokens there, in tokens of prefill."""
    matched = min(facts.matched, length) if facts.matched >= weights.min_match else 0
    return (
        length
        - matched
        + weights.pending_weight * facts.pending
        + weights.in_flight_weight * facts.in_flight
        + weights.waiting_weight * facts.waiting
        + weights.work_weight * facts.work
    )


def order(length: int, facts: Sequence[Facts], weights: ScoreConfig, turn: int = 0) -> list[int]:
    """The positions of ``facts``, lowest cost first; equal ones in turn, beginning at ``turn``."""
    count = len(facts)
    costs = [cost(length, each, weights) for each in facts]
    return sorted(range(count), key=lambda position: (costs[position], (position - turn) % count))
