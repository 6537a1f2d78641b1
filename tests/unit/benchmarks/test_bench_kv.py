"""The simulated fleet: engines, traces, the bound, and that the policies are measured by what they do."""

from __future__ import annotations

import itertools
from pathlib import Path

import orjson
import pytest

from benchmarks import kv_routing
from benchmarks.kv import bound, fleet, policies, traces
from benchmarks.kv.engine import Engine, Job, Model, Request

SMALL = Model(block=100, cache=1000, prefill_rate=1000.0, batch=2, step=0.1, step_full=0.0, overhead=0.0)


def request(at: float, *blocks: int, tokens: int = 0, output: int = 10, session: int = 0) -> Request:
    """A request whose blocks are whole."""
    return Request(at, tokens or 100 * len(blocks), output, blocks, session)


def prefill(engine: Engine, asked: Request, now: float = 0.0) -> tuple[Job, float]:
    """Let an idle engine compute a prompt: the job, and when it is done."""
    engine.queue.append(Job(asked, now))
    begun = engine.begin(now)
    assert begun is not None
    engine.prefilled(begun[1])
    return begun


def test_an_engine_computes_what_is_not_cached() -> None:
    """At its rate; a part of a block is never cached, and one token is always computed."""
    engine = Engine(SMALL)
    assert prefill(engine, request(0.0, 1, 2, 3))[1] == pytest.approx(0.3)
    engine.finished()
    job, end = prefill(engine, request(1.0, 1, 2, 4), 1.0)
    assert (job.hit, end) == (200, pytest.approx(1.1))
    engine.finished()
    assert prefill(engine, request(2.0, 1, 2), 2.0)[0].hit == 199


def test_an_engine_forgets_what_was_unused_longest() -> None:
    """And of one prompt its end before its beginning."""
    engine = Engine(SMALL)
    for start in (0, 10):
        prefill(engine, request(0.0, *range(start, start + 6)))
        engine.finished()
    assert engine.held(range(10, 16)) == 6
    assert engine.held(range(6)) == 4


def test_an_engine_does_one_prefill_at_a_time_and_has_a_full_batch() -> None:
    """What cannot begin waits."""
    engine = Engine(SMALL)
    prefill(engine, request(0.0, 1))
    prefill(engine, request(0.0, 2))
    engine.queue.append(Job(request(0.0, 3), 0.0))
    assert engine.begin(1.0) is None
    engine.finished()
    assert engine.begin(1.0) is not None
    engine.queue.append(Job(request(0.0, 4), 0.0))
    assert engine.begin(1.0) is None


def test_a_trace_is_read(tmp_path: Path) -> None:
    """In order of time; a request belongs to the conversation whose blocks it goes on."""
    lines = [
        {"timestamp": 2000, "input_length": 900, "output_length": 5, "hash_ids": [0, 1]},
        {"timestamp": 1000, "input_length": 700, "output_length": 5, "hash_ids": [0, 2]},
        {"timestamp": 3000, "input_length": 1400, "output_length": 0, "hash_ids": [0, 1, 3]},
    ]
    path = tmp_path / "trace.jsonl"
    path.write_bytes(b"\n".join(orjson.dumps(line) for line in lines) + b"\n\n")
    first, second, third = traces.read(path)
    assert [first.at, second.at, third.at] == [1.0, 2.0, 3.0]
    assert third.session == second.session != first.session
    assert (third.tokens, third.output, third.blocks) == (1400, 1, (0, 1, 3))


def test_a_folded_trace_keeps_its_requests_and_mixes_none() -> None:
    """Windows lie over each other; what was not shared within one is not shared at all."""
    requests = [request(float(second), 7, second) for second in range(10)]
    folded, parts, speed = traces.loaded(requests, load=2 * 2000 / 9 / 1000, capacity=1000.0)
    assert (parts, speed) == (2, pytest.approx(1.0))
    assert len(folded) == 10
    assert folded[-1].at == pytest.approx(4.5, abs=0.6)
    assert len({each.blocks[0] for each in folded}) == 2
    assert traces.fold(requests, 1) == requests


def test_a_generated_conversation_grows() -> None:
    """Each turn begins with the one before, save for a part of a block at its end; the same seed gives the same trace."""
    shape = traces.Shape("s", seconds=60.0, rate=5.0, applications=3)
    made = traces.generate(shape)
    assert made == traces.generate(shape)
    turns: dict[int, list[Request]] = {}
    for each in made:
        turns.setdefault(each.session, []).append(each)
    long = [talk for talk in turns.values() if len(talk) > 2]
    assert long
    for talk in long:
        for before, after in itertools.pairwise(talk):
            whole = before.tokens // shape.block
            assert after.blocks[:whole] == before.blocks[:whole]
            assert after.tokens > before.tokens
    assert len({each.blocks[0] for each in made}) == 3


def test_the_bound_knows_the_future() -> None:
    """It keeps what comes again, and hits no more than that."""
    model = Model(block=100, cache=200)
    asked = [request(0.0, 1), request(1.0, 2), request(2.0, 3), request(3.0, 4), request(4.0, 1, 9)]
    assert bound.most_hits(asked, model, 1) == [0, 0, 0, 0, 100]
    assert bound.shared_lru_hits(asked, model, 1) == 0
    assert bound.shared_lru_hits(asked, model, 2) == pytest.approx(100 / 600)


def test_nobody_beats_the_bound() -> None:
    """And all requests are answered, whoever chooses."""
    shape = traces.Shape("s", seconds=120.0, rate=4.0, applications=5)
    requests = traces.generate(shape)
    model = Model(block=shape.block, cache=40_000)
    best = sum(bound.most_hits(requests, model, 4)) / sum(each.tokens for each in requests)
    rates = {}
    for make in kv_routing.POLICIES:
        outcome = fleet.run(requests, 4, model, make)
        rates[outcome.policy] = outcome.hit_rate
        assert outcome.imbalance >= 1
        assert 0 < outcome.mean_ttft <= outcome.p99_ttft
    assert max(rates.values()) <= best
    assert rates["ours, prefix index"] > rates["round robin"]


def test_our_policies_are_the_gateways_own() -> None:
    """Nothing of theirs is left over when a run ends: no charge, no prefix, no request under way."""
    made: list[policies.ScoredPrefix] = []

    def make(*arguments: object) -> policies.ScoredPrefix:
        made.append(policies.ScoredPrefix(*arguments))  # type: ignore[arg-type]
        return made[-1]

    requests = traces.generate(traces.Shape("s", seconds=30.0, rate=4.0, applications=5))
    fleet.run(requests, 3, Model(block=64), make)
    (policy,) = made
    assert policy.index.size > 0
    assert policy.scorer.ledger.prefixes == 0
    assert [policy.scorer.ledger.of(endpoint).pending for endpoint in policy.endpoints] == [0, 0, 0]
    assert [endpoint.in_flight for endpoint in policy.endpoints] == [0, 0, 0]


def test_the_goals_are_judged() -> None:
    """Each by its own numbers."""
    names = ("round robin", "least request", "ours, prefix index")
    times = (10.0, 9.0, 6.0)
    outcomes = [fleet.Outcome(name, 0.5, 1.0, p99, 1.1, 1.0) for name, p99 in zip(names, times, strict=True)]
    assert [verdict.reached for verdict in kv_routing.judge(outcomes, 0.51, 5.5)] == [True, False]
    assert [verdict.reached for verdict in kv_routing.judge(outcomes, 0.6, 2.0)] == [False, False]
    assert [verdict.reached for verdict in kv_routing.judge(outcomes, 0.0, 2.0)] == [True]


def test_a_run_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For each number of engines, with a row per policy and the verdicts."""
    lines = [
        {"timestamp": 100 * n, "input_length": 1024, "output_length": 3, "hash_ids": [n % 4, 100 + n % 8]}
        for n in range(50)
    ]
    path = tmp_path / "trace.jsonl"
    path.write_bytes(b"\n".join(orjson.dumps(line) for line in lines))
    assert kv_routing.main(["--trace", str(path), "--engines", "2", "3"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("ours, prefix index      ") == 2
    assert printed.count("reached") == 12
