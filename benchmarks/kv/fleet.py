"""Runs a trace through a fleet of engines under one policy."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from benchmarks.kv.engine import Engine, Job, Model, Request

_ARRIVAL, _PREFILLED, _FINISHED, _POLL = range(4)


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    policy: str
    hit_rate: float
    mean_ttft: float
    p99_ttft: float
    #: Largest share of an engine over the mean: of busy time, and of requests.
    imbalance: float
    request_imbalance: float


def run(requests: Sequence[Request], count: int, model: Model, make: Callable[..., Any]) -> Outcome:
    """Every request of the trace, at its time, to where the policy says."""
    engines = [Engine(model) for _ in range(count)]
    now = 0.0
    policy = make(engines, model, lambda: now)
    jobs: list[Job] = []
    events: list[tuple[float, int, int, Any]] = [
        (request.at, _ARRIVAL, number, request) for number, request in enumerate(requests)
    ]
    heapq.heapify(events)
    heapq.heappush(events, (0.0, _POLL, 0, None))
    serial = len(requests)
    left = len(requests)
    while events and left:
        now, what, _, subject = heapq.heappop(events)
        if what == _POLL:
            policy.polled(now)
            heapq.heappush(events, (now + 1.0, _POLL, 0, None))
            continue
        if what == _ARRIVAL:
            job = Job(subject, now)
            job.place = policy.choose(job)
            jobs.append(job)
            engines[job.place].requests += 1
            engines[job.place].queue.append(job)
            policy.sent(job)
        elif what == _PREFILLED:
            job, end = engines[subject].prefilled(now)
            policy.answered(job)
            serial += 1
            heapq.heappush(events, (end, _FINISHED, serial, job))
        else:
            job = subject
            left -= 1
            engines[job.place].finished()
            policy.ended(job)
        begun = engines[job.place].begin(now)
        if begun is not None:
            serial += 1
            heapq.heappush(events, (begun[1], _PREFILLED, serial, job.place))
    return _outcome(policy.name, jobs, engines)


def _outcome(name: str, jobs: Sequence[Job], engines: Sequence[Engine]) -> Outcome:
    times = sorted(job.ttft for job in jobs)
    tokens = sum(job.request.tokens for job in jobs)
    return Outcome(
        name,
        sum(job.hit for job in jobs) / tokens,
        fmean(times),
        percentile(times, 0.99),
        _peak([engine.busy for engine in engines]),
        _peak([engine.requests for engine in engines]),
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that ``share`` of ``ordered``, which ascends, do not exceed."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def _peak(values: Sequence[float]) -> float:
    return max(values) / fmean(values)
