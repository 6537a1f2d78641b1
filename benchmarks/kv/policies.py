"""Ways to choose an engine: the usual ones, and ours, which is the gateway's own code."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

from benchmarks.kv.engine import Engine, Job, Model, Request
from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.filters.ai.kvcache.config import KvCacheConfig, ScoreConfig
from pixiu_py.filters.ai.kvcache.index.base import KvIndex, Matches
from pixiu_py.filters.ai.kvcache.index.prefix import PrefixConfig, PrefixIndex
from pixiu_py.filters.ai.kvcache.load import Board, Load
from pixiu_py.filters.ai.kvcache.prompt import Prompt
from pixiu_py.filters.ai.kvcache.routing import Routing, Scorer
from pixiu_py.filters.base import Context


class Policy:
    """Chooses an engine by its number."""

    name = ""

    def __init__(self, engines: Sequence[Engine], model: Model, clock: Callable[[], float]) -> None:
        self.engines = engines
        self.model = model
        self.clock = clock
        self.rng = random.Random(7)
        self.in_flight = [0] * len(engines)

    def choose(self, job: Job) -> int:
        """Where it goes."""
        raise NotImplementedError

    def sent(self, job: Job) -> None:
        """It has been sent to ``job.place``."""
        self.in_flight[job.place] += 1

    def answered(self, job: Job) -> None:
        """Its first token is there."""

    def ended(self, job: Job) -> None:
        """Its last token is there."""
        self.in_flight[job.place] -= 1

    def polled(self, now: float) -> None:
        """A second has passed: the engines' metrics can be read."""


class RoundRobin(Policy):
    """One after the other."""

    name = "round robin"
    turn = -1

    def choose(self, job: Job) -> int:
        """The next one."""
        self.turn = (self.turn + 1) % len(self.engines)
        return self.turn


class LeastRequest(Policy):
    """Fewest requests under way, of all; among equals by chance."""

    name = "least request"

    def choose(self, job: Job) -> int:
        """The least busy one."""
        least = min(self.in_flight)
        return self.rng.choice([place for place, count in enumerate(self.in_flight) if count == least])


class _Ring:
    def __init__(self, places: int, points: int = 100) -> None:
        self._points = sorted((_hash(f"{place}/{point}"), place) for place in range(places) for point in range(points))

    def place(self, key: object) -> int:
        return self._points[bisect_left(self._points, (_hash(key), 0)) % len(self._points)][1]


def _hash(key: object) -> int:
    return int.from_bytes(blake2b(repr(key).encode(), digest_size=8).digest())


class SessionHash(Policy):
    """A consistent hash of the conversation."""

    name = "session hash"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._ring = _Ring(len(self.engines))

    def choose(self, job: Job) -> int:
        """Where its conversation belongs."""
        return self._ring.place(job.request.session)


class PrefixHash(SessionHash):
    """A consistent hash of the first 1,024 tokens."""

    name = "prefix hash"

    def choose(self, job: Job) -> int:
        """Where its beginning belongs."""
        return self._ring.place(job.request.blocks[: max(1024 // self.model.block, 1)])


class TracePrompt(Prompt):
    """A prompt that is known by its blocks only; it must be one that is whole."""

    __slots__ = ()

    def __init__(self, request: Request, block: int) -> None:
        super().__init__("m", "", b"", {})
        whole = request.blocks[: request.tokens // block]
        self._keys = [number.to_bytes(8, "little") for number in _scattered(whole)]
        self._ends = [block * (number + 1) for number in range(len(whole))]
        self._length = request.tokens


def _scattered(blocks: Sequence[int]) -> list[int]:
    """Ids are counted up; keys are digests, which are spread evenly. A multiplication does as much."""
    return [block * 0x9E3779B97F4A7C15 % 2**64 for block in blocks]


class TrueIndex(KvIndex):
    """Knows what the engines hold, at once: the best that a controller or KV events could tell."""

    def __init__(self, engines: Sequence[Engine], block: int) -> None:
        self._engines = engines
        self._block = block
        self.request: Request | None = None

    def lookup(self, prompt: Prompt, endpoints: Sequence[Endpoint]) -> Matches:
        """See ``KvIndex.lookup``."""
        assert self.request is not None
        pairs = zip(endpoints, self._engines, strict=True)
        held = {endpoint.id: engine.held(self.request.blocks) * self._block for endpoint, engine in pairs}
        return {key: tokens for key, tokens in held.items() if tokens}


class Scored(Policy):
    """The gateway's own decision: its score, over one of its indexes."""

    name = "ours, exact index"

    def __init__(
        self, engines: Sequence[Engine], model: Model, clock: Callable[[], float], score: ScoreConfig | None = None
    ) -> None:
        super().__init__(engines, model, clock)
        self.endpoints = [Endpoint("c", f"e{n}", "10.0.0.1", n + 1) for n in range(len(engines))]
        self.numbers = {endpoint: number for number, endpoint in enumerate(self.endpoints)}
        self.config = KvCacheConfig(enabled=True, score=score or ScoreConfig())
        self.board = Board(5.0)
        self.index = self.make_index()
        self.scorer = Scorer(self.config, self.board, clock, self.index)

    def make_index(self) -> KvIndex:
        """The index that the score asks."""
        return TrueIndex(self.engines, self.model.block)

    def choose(self, job: Job) -> int:
        """The first in the order of the score."""
        prompt = TracePrompt(job.request, self.model.block)
        if isinstance(self.index, TrueIndex):
            self.index.request = job.request
        matches = self.index.lookup(prompt, self.endpoints)
        assert isinstance(matches, dict)
        least = self.config.score.min_match
        hit = any(tokens >= least for tokens in matches.values())
        job.routing = Routing(self.scorer, prompt, matches, "hit" if hit else "miss")
        first = job.routing.place(self.endpoints)
        assert first is not None
        return self.numbers[first]

    def sent(self, job: Job) -> None:
        """The proxy counts what is in flight."""
        self.endpoints[job.place].in_flight += 1

    def answered(self, job: Job) -> None:
        """The filter sees the answer begin."""
        assert job.routing is not None
        job.routing.answered(self.endpoints[job.place])

    def ended(self, job: Job) -> None:
        """The filter sees it end."""
        assert job.routing is not None
        job.routing.over()
        self.endpoints[job.place].in_flight -= 1

    def polled(self, now: float) -> None:
        """What the gateway reads of the engines' metrics every second."""
        for endpoint, engine in zip(self.endpoints, self.engines, strict=True):
            running = engine.running + (engine.prefilling is not None)
            self.board.put(endpoint, Load(running, len(engine.queue), None, now))


class ScoredPrefix(Scored):
    """The same over the ``prefix`` index: nothing is known but what was routed."""

    name = "ours, prefix index"

    def make_index(self) -> KvIndex:
        """The gateway's own, as it is by default."""
        return self.prefix_index()

    def prefix_index(self, **keys: int) -> PrefixIndex:
        """One with these keys."""
        context = Context(clusters=None, registry=None, tasks=None, clock=self.clock, random=self.rng)  # type: ignore[arg-type]
        return PrefixIndex(PrefixConfig(max_endpoints=len(self.engines), **keys), KvCacheConfig(enabled=True), context)


class ScoredSizedPrefix(ScoredPrefix):
    """The same, told by ``cache_tokens`` how much an engine can hold."""

    name = "ours, sized prefix"

    def make_index(self) -> KvIndex:
        """The gateway's own, with that key."""
        return self.prefix_index(cache_tokens=self.model.cache)
