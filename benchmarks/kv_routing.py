"""Which engine should a prompt go to? A fleet of simulated engines, traces of conversations, and several answers.

``python -m benchmarks.kv_routing`` runs generated traces at 8 and at 64 engines; ``--trace FILE`` runs a file in Mooncake's
shape instead (one JSON object per line: ``timestamp`` in ms, ``input_length``, ``output_length``, ``hash_ids``). The policies
called "ours" are the gateway's own scoring and its own prefix index, not a copy of them.

Reading order: ``kv/traces.py`` (what is asked), ``kv/engine.py`` (what an engine can do), ``kv/policies.py`` (who chooses),
``kv/fleet.py`` (the run), ``kv/bound.py`` (what nobody can beat).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.kv import bound, fleet, policies, traces
from benchmarks.kv.engine import Model, Request

POLICIES: tuple[Callable[..., policies.Policy], ...] = (
    policies.RoundRobin,
    policies.LeastRequest,
    policies.SessionHash,
    policies.PrefixHash,
    policies.ScoredPrefix,
    policies.ScoredSizedPrefix,
    policies.Scored,
)
#: Tokens per block of the generated traces. Mooncake's have 512.
GENERATED_BLOCK = 128
MOONCAKE_BLOCK = 512


@dataclass(frozen=True)
class Verdict:
    """Whether one of our policies reached a goal, and by how much."""

    goal: str
    reached: bool
    detail: str


def shapes(engines: int, seconds: float) -> list[traces.Shape]:
    """The generated traces for a fleet, about one request per engine and second."""
    common: dict[str, Any] = {"seconds": seconds, "rate": engines * 1.0, "block": GENERATED_BLOCK}
    return [
        traces.Shape("conversations, shared system prompts, bursts", **common),
        traces.Shape("few applications with long prompts", applications=8, system=(4000, 12_000), turns=2.0, **common),
        traces.Shape(
            "nothing shared", system=(0, 0), turns=1.0, user=(200, 8000), output=(50, 400), burst=2.0, **common
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for, and print one table per trace and fleet. Status 0."""
    options = _options(arguments)
    for count in options.engines:
        for name, requests, block in _traces(options, count):
            model = Model(block=block, cache=options.cache, prefill_rate=options.prefill_rate, batch=options.batch)
            if options.load:
                requests, parts, speed = traces.loaded(requests, options.load, model.prefill_rate * count)
                name = f"{name} (folded {parts} times, sped up {speed:.2f} times)"
            for line in report(name, requests, count, model):
                print(line, flush=True)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kv_routing", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--trace", type=Path, help="a JSONL file in Mooncake's shape; absent: generated traces")
    parser.add_argument("--engines", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--block", type=int, default=0, help="tokens per block of the trace (512, generated: 128)")
    parser.add_argument("--cache", type=int, default=4_000_000, help="tokens of KV cache per engine")
    parser.add_argument("--prefill-rate", type=float, default=8000.0, help="tokens per second of prefill")
    parser.add_argument("--batch", type=int, default=64, help="sequences that an engine decodes at once")
    parser.add_argument(
        "--load",
        type=float,
        default=0.7,
        help="prompt tokens offered, as a share of what the fleet can prefill without any cache;\n"
        "a trace is folded (windows of it laid over each other) and stretched to give that; 0: as it is",
    )
    parser.add_argument("--seconds", type=float, default=900.0, help="length of the generated traces")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


def _traces(options: argparse.Namespace, count: int) -> Iterator[tuple[str, list[Request], int]]:
    if options.trace is not None:
        yield options.trace.name, traces.read(options.trace), options.block or MOONCAKE_BLOCK
        return
    for shape in shapes(count, options.seconds):
        requests = traces.generate(shape, options.seed)
        yield f"{shape.name} [{_parameters(shape)}]", requests, shape.block


def _parameters(shape: traces.Shape) -> str:
    values = {item.name: getattr(shape, item.name) for item in fields(shape) if item.name != "name"}
    return ", ".join(
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items()
    )


def report(name: str, requests: Sequence[Request], count: int, model: Model) -> Iterator[str]:
    """The table of one trace at one fleet, line by line as it is measured, and the verdict on the goals."""
    hits = bound.most_hits(requests, model, count)
    tokens = sum(request.tokens for request in requests)
    best = sum(hits) / tokens
    fastest = sorted(bound.fastest(request, hit, model) for request, hit in zip(requests, hits, strict=True))
    yield ""
    yield f"{name}: {count} engines, {len(requests)} requests, {requests[-1].at:.0f} s"
    yield "  policy                 hit rate  of bound  mean TTFT   p99 TTFT  imbalance  of requests"
    row = "  {:<22} {:>8.3f}  {:>8}  {:>8.2f}s  {:>8.2f}s  {:>9}  {:>11}"
    p99 = fleet.percentile(fastest, 0.99)
    yield row.format("bound", best, "1.000" if best else "-", fmean(fastest), p99, "-", "-")
    shared = bound.shared_lru_hits(requests, model, count)
    yield f"  {'(one LRU cache of all)':<22} {shared:>8.3f}  {f'{shared / best:.3f}' if best else '-':>8}"
    outcomes = []
    for make in POLICIES:
        outcome = fleet.run(requests, count, model, make)
        outcomes.append(outcome)
        share = f"{outcome.hit_rate / best:.3f}" if best else "-"
        yield row.format(
            outcome.policy,
            outcome.hit_rate,
            share,
            outcome.mean_ttft,
            outcome.p99_ttft,
            f"{outcome.imbalance:.2f}",
            f"{outcome.request_imbalance:.2f}",
        )
    for verdict in judge(outcomes, best, p99):
        yield f"  {'reached    ' if verdict.reached else 'NOT reached'}  {verdict.goal}: {verdict.detail}"


def judge(outcomes: Sequence[fleet.Outcome], best: float, fastest_p99: float) -> Iterator[Verdict]:
    """The goals: cached tokens at an even load, and times of the slowest, for each policy of ours."""
    by_name = {outcome.policy: outcome for outcome in outcomes}
    round_robin, least = by_name["round robin"].p99_ttft, by_name["least request"].p99_ttft
    for outcome in outcomes:
        if not outcome.policy.startswith("ours"):
            continue
        if best < 0.01:  # nothing is shared
            detail = f"p99 {outcome.p99_ttft:.2f} s, least request {least:.2f} s"
            yield Verdict(f"{outcome.policy}: p99 no worse than least request", outcome.p99_ttft <= least, detail)
            continue
        share = outcome.hit_rate / best
        detail = f"{share:.3f} of the bound at {outcome.imbalance:.2f}"
        reached = share >= 0.95 and outcome.imbalance <= 1.2
        yield Verdict(f"{outcome.policy}: 0.95 of the bound's hits, imbalance up to 1.2", reached, detail)
        faster = round_robin / outcome.p99_ttft
        detail = f"{faster:.2f} times; the bound is {round_robin / fastest_p99:.2f} times"
        yield Verdict(f"{outcome.policy}: p99 twice as good as round robin", faster >= 2, detail)


if __name__ == "__main__":
    raise SystemExit(main())
