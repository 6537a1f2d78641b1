"""What no routing can beat: one cache as large as all engines' together, that knows the future."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Sequence

from benchmarks.kv.engine import Model, Request

_NEVER = 1 << 60


def most_hits(requests: Sequence[Request], model: Model, engines: int) -> list[int]:
    """For each request the tokens that a clairvoyant cache would have of it.

    Belady's rule: of all blocks the one whose next use is furthest away makes room. Blocks count wherever they stand in a
    prompt, and are there at once; both make the bound higher than what can be reached.
    """
    capacity = max(model.cache // model.block * engines, 1)
    upcoming = _next_uses(requests)
    cached: dict[int, int] = {}
    order: list[tuple[int, int]] = []
    hits = []
    for number, request in enumerate(requests):
        held = sum(1 for block in request.blocks if block in cached)
        hits.append(min(held * model.block, request.tokens - 1))
        for block, following in zip(request.blocks, upcoming[number], strict=True):
            cached[block] = following
            heapq.heappush(order, (-following, block))
        while len(cached) > capacity:
            following, block = heapq.heappop(order)
            if cached.get(block) == -following:
                del cached[block]
    return hits


def shared_lru_hits(requests: Sequence[Request], model: Model, engines: int) -> float:
    """Share of all tokens that one LRU cache of that size would have: what engines lose because they do not know the future."""
    capacity = max(model.cache // model.block * engines, 1)
    cache: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for request in requests:
        held = next((n for n, block in enumerate(request.blocks) if block not in cache), len(request.blocks))
        hits += min(held * model.block, request.tokens - 1)
        for block in reversed(request.blocks):
            cache[block] = None
            cache.move_to_end(block)
        while len(cache) > capacity:
            cache.popitem(last=False)
    return hits / sum(request.tokens for request in requests)


def fastest(request: Request, hit: int, model: Model) -> float:
    """Seconds to the first token with so many tokens cached, on an engine that has nothing else to do."""
    return model.overhead + (request.tokens - hit) / model.prefill_rate


def _next_uses(requests: Sequence[Request]) -> list[list[int]]:
    """For each block of each request, the number of the next request that has it."""
    last: dict[int, int] = {}
    found: list[list[int]] = []
    for number in range(len(requests) - 1, -1, -1):
        blocks = requests[number].blocks
        found.append([last.get(block, _NEVER) for block in blocks])
        last.update(dict.fromkeys(blocks, number))
    found.reverse()
    return found
