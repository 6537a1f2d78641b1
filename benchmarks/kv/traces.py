"""Traces: read from a file in Mooncake's shape, or generated from stated parameters."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from benchmarks.kv.engine import Request


def read(path: Path) -> list[Request]:
    """A JSONL file with ``timestamp`` (ms), ``input_length``, ``output_length`` and ``hash_ids`` per line.

    Such traces name no conversations: a request continues the one that its deepest known block was first seen in; a
    block that opens many prompts (the first) does not count.
    """
    requests: list[Request] = []
    owners: dict[int, int] = {}
    for number, line in enumerate(path.read_bytes().splitlines()):
        if not line.strip():
            continue
        entry = orjson.loads(line)
        blocks = tuple(entry["hash_ids"])
        known = [owners[block] for block in blocks[1:] if block in owners]
        session = known[-1] if known else number
        for block in blocks[1:]:
            owners.setdefault(block, session)
        at = entry["timestamp"] / 1000
        requests.append(Request(at, max(entry["input_length"], 1), max(entry["output_length"], 1), blocks, session))
    return sorted(requests, key=lambda request: request.at)


def fold(requests: Sequence[Request], parts: int) -> list[Request]:
    """Cut a trace into windows and lay them over each other: so many times the load, with nobody typing faster.

    Blocks and conversations get other ids in each window: what follows in another window would come too early.
    """
    if parts <= 1 or not requests:
        return list(requests)
    length = (requests[-1].at - requests[0].at) / parts
    found = []
    for request in requests:
        part = min(int((request.at - requests[0].at) / length), parts - 1)
        blocks = tuple(block * parts + part for block in request.blocks)
        at = request.at - requests[0].at - part * length
        found.append(request._replace(at=at, blocks=blocks, session=request.session * parts + part))
    return sorted(found, key=lambda request: request.at)


def loaded(requests: Sequence[Request], load: float, capacity: float) -> tuple[list[Request], int, float]:
    """A trace that offers ``load`` of a fleet that can prefill ``capacity`` tokens per second; how it was folded and sped up.

    As if nothing were ever cached. First it is folded, then stretched by what is left.
    """
    tokens = sum(request.tokens for request in requests)
    seconds = (requests[-1].at - requests[0].at) or 1.0
    wanted = load * capacity * seconds / tokens
    parts = max(round(wanted), 1)
    folded = fold(requests, parts)
    speed = wanted / parts
    return [request._replace(at=request.at / speed) for request in folded], parts, speed


@dataclass(frozen=True)
class Shape:
    """Parameters of a generated trace."""

    name: str
    #: Seconds, and requests per second in the mean.
    seconds: float
    rate: float
    #: Applications: each has a system prompt (with its tools) of so many tokens, and a share of the conversations
    #: that falls with its rank as Zipf's law has it.
    applications: int = 50
    system: tuple[int, int] = (1000, 6000)
    zipf: float = 1.0
    #: Turns of a conversation (geometric mean), tokens that each adds, seconds between an answer and the next turn.
    turns: float = 5.0
    user: tuple[int, int] = (50, 1500)
    output: tuple[int, int] = (50, 800)
    pause: float = 30.0
    #: A burst multiplies the rate of one application for a while.
    burst: float = 8.0
    burst_every: float = 300.0
    burst_length: float = 20.0
    block: int = 64


def generate(shape: Shape, seed: int = 1) -> list[Request]:
    """Conversations as ``shape`` describes them, in order of time."""
    return sorted(_turns(shape, random.Random(seed)), key=lambda request: request.at)


def _turns(shape: Shape, rng: random.Random) -> Iterator[Request]:
    weights = [1 / (rank + 1) ** shape.zipf for rank in range(shape.applications)]
    systems = [_log_uniform(rng, shape.system) for _ in range(shape.applications)]
    ids = _Ids()
    now = 0.0
    session = 0
    rate = shape.rate / shape.turns
    while now < shape.seconds:
        in_burst = shape.burst_every and now % shape.burst_every < shape.burst_length
        application = rng.choices(range(shape.applications), weights)[0]
        if in_burst:
            hot = int(now // shape.burst_every) % shape.applications
            application = hot if rng.random() < 1 - 1 / shape.burst else application
        now += rng.expovariate(rate * (shape.burst if in_burst else 1))
        session += 1
        yield from _conversation(shape, rng, ids, now, session, application, systems[application])


def _conversation(
    shape: Shape, rng: random.Random, ids: _Ids, start: float, session: int, application: int, system: int
) -> Iterator[Request]:
    text: list[tuple[object, int]] = [(("system", application), system)] if system else []
    at = start
    turn = 0
    while True:
        turn += 1
        text.append(((session, turn, "user"), _log_uniform(rng, shape.user)))
        output = _log_uniform(rng, shape.output)
        yield Request(at, sum(size for _, size in text), output, ids.blocks(text, shape.block), session)
        if rng.random() < 1 / shape.turns:
            return
        text.append(((session, turn, "answer"), output))
        at += output * 0.03 + rng.expovariate(1 / shape.pause)


class _Ids:
    """Ids of blocks, by all that they follow."""

    def __init__(self) -> None:
        self._known: dict[object, int] = {}

    def blocks(self, text: list[tuple[object, int]], size: int) -> tuple[int, ...]:
        """One id per block, the last one in part: what it follows and what is in it make it what it is."""
        found = []
        parent, inside, filled = -1, [], 0
        for name, length in text:
            offset = 0
            while offset < length:
                taken = min(size - filled, length - offset)
                inside.append((name, offset, taken))
                offset += taken
                filled += taken
                if filled == size:
                    parent = self._known.setdefault((parent, tuple(inside)), len(self._known))
                    found.append(parent)
                    inside, filled = [], 0
        if inside:
            found.append(self._known.setdefault((parent, tuple(inside)), len(self._known)))
        return tuple(found)


def _log_uniform(rng: random.Random, bounds: tuple[int, int]) -> int:
    low, high = bounds
    return int(low * (high / low) ** rng.random()) if high else 0
