"""Which endpoint a prompt goes to: cached tokens against load. Pure; the filter gathers the facts.

Everything is measured in tokens of prefill, the work that a hit saves and that a queue is made of. The endpoint with the
lowest cost wins:

    cost = missing
         + pending_weight · pending            shared_pending_weight, while others ask for the same prefix
         + in_flight_weight · in_flight
         + waiting_weight · waiting + usage_weight · usage
         + overload_weight · (work above what is fair)

    fair = the largest of overload_slack · mean work, overload_floor, mean work + overload_prompts · length
         + work_weight · work

A conversation follows its prefix through queues much longer than what it saves: nobody else will ever need a copy, and
all tokens that are computed twice make all queues longer. A prefix that several ask for at once is worth a copy as soon as
waiting for it takes as long as computing it: later ones find two holders. Whoever has been given more than the others for
minutes is avoided, so that no popular prefix keeps one engine busy while others idle. ``docs/filters/kvcache.md`` has the
measurements behind the weights.
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
    #: What this gateway has given it to do lately, fading.
    work: float = 0.0
    #: Requests in the engine's own queue, whoever sent them.
    waiting: int = 0
    #: Share of its KV cache that is in use, 0 to 1.
    usage: float = 0.0


def costs(length: int, facts: Sequence[Facts], weights: ScoreConfig, *, shared: bool = False) -> list[float]:
    """What it costs to send a prompt of ``length`` tokens to each, in tokens of prefill.

    ``shared``: other requests that are not answered yet have the prefix that was matched.
    """
    pending_weight = weights.shared_pending_weight if shared else weights.pending_weight
    in_flight_weight, waiting_weight, usage_weight = (
        weights.in_flight_weight,
        weights.waiting_weight,
        weights.usage_weight,
    )
    work_weight, overload_weight, least = weights.work_weight, weights.overload_weight, weights.min_match
    mean = sum(fact.work for fact in facts) / (len(facts) or 1)
    fair = max(weights.overload_slack * mean, weights.overload_floor, mean + weights.overload_prompts * length)
    found = []
    for matched, pending, in_flight, work, waiting, usage in facts:
        cost = (
            length
            + pending_weight * pending
            + in_flight_weight * in_flight
            + waiting_weight * waiting
            + usage_weight * usage
            + work_weight * work
        )
        if matched >= least:
            cost -= min(matched, length)
        if work > fair:
            cost += overload_weight * (work - fair)
        found.append(cost)
    return found


def order(costs: Sequence[float], turn: int = 0) -> list[int]:
    """The positions of ``costs``, lowest first; equal ones in turn, beginning at ``turn``."""
    count = len(costs)
    turn %= count or 1
    # Sorting keeps the order of equals: begin at ``turn``.
    return sorted([*range(turn, count), *range(turn)], key=costs.__getitem__)
