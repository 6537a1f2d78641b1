"""A simulated engine: an LRU cache of blocks, one prefill after the other, and a batch that decodes.

The model is simple on purpose. A prompt waits until a place in the batch is free and every earlier prompt has been
prefilled; its prefill takes its uncached tokens at ``prefill_rate``, slower by up to half while the batch is full; then it
decodes at one token per step. A step takes longer the fuller the batch. Nothing is preempted.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pixiu_py.filters.ai.kvcache.routing import Routing


class Request(NamedTuple):
    """One line of a trace."""

    at: float
    tokens: int
    output: int
    #: One id per block of the prompt; equal ids mean equal text from the beginning up to there.
    blocks: tuple[int, ...]
    #: The conversation it belongs to.
    session: int


@dataclass(frozen=True)
class Model:
    """What an engine can do."""

    block: int = 512
    #: Tokens of KV cache.
    cache: int = 500_000
    #: Tokens per second of prefill on an otherwise idle engine.
    prefill_rate: float = 8000.0
    batch: int = 64
    #: Seconds of a decoding step: of one sequence, and what a full batch adds.
    step: float = 0.02
    step_full: float = 0.03
    #: Seconds before anything, per request.
    overhead: float = 0.02


@dataclass
class Job:
    """A request at an engine."""

    request: Request
    arrived: float
    hit: int = 0
    ttft: float = 0.0
    place: int = 0
    #: What the gateway knows of it, under a policy of ours.
    routing: Routing | None = None


@dataclass
class Engine:
    """One engine. The fleet calls ``begin``, ``prefilled`` and ``finished`` when their time has come."""

    model: Model
    cache: OrderedDict[int, None] = field(default_factory=OrderedDict)
    queue: deque[Job] = field(default_factory=deque)
    prefilling: Job | None = None
    running: int = 0
    busy: float = 0.0
    computed: int = 0
    requests: int = 0

    def held(self, blocks: Sequence[int]) -> int:
        """How many leading blocks are cached."""
        count = 0
        for block in blocks:
            if block not in self.cache:
                break
            count += 1
        return count

    def begin(self, now: float) -> tuple[Job, float] | None:
        """Start the next prefill if there may be one: the job, and when it will be done."""
        if self.prefilling is not None or not self.queue or self.running >= self.model.batch:
            return None
        job = self.prefilling = self.queue.popleft()
        request = job.request
        held = self.held(request.blocks)
        job.hit = min(held * self.model.block, request.tokens - 1)
        for block in reversed(request.blocks[:held]):
            self.cache.move_to_end(block)
        share = 1 - 0.5 * self.running / self.model.batch
        seconds = self.model.overhead + (request.tokens - job.hit) / (self.model.prefill_rate * share)
        self.busy += seconds
        self.computed += request.tokens - job.hit
        return job, now + seconds

    def prefilled(self, now: float) -> tuple[Job, float]:
        """The first token is there: the job, and when its last one will be."""
        job = self.prefilling
        assert job is not None
        self.prefilling = None
        job.ttft = now - job.arrived
        for block in reversed(job.request.blocks):
            self.cache[block] = None
            self.cache.move_to_end(block)
        capacity = self.model.cache // self.model.block
        while len(self.cache) > capacity:
            self.cache.popitem(last=False)
        self.running += 1
        step = self.model.step + self.model.step_full * self.running / self.model.batch
        seconds = job.request.output * step
        self.busy += seconds / self.model.batch
        return job, now + seconds

    def finished(self) -> None:
        """A sequence has left the batch."""
        self.running -= 1
