"""What an index needs to call services, made from the filter's configuration: connections, guards, counters, readings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pixiu_py.filters.ai.kvcache.calls import STATES, Calls, Tries, limits
from pixiu_py.filters.ai.kvcache.tokens import TokenSource, tokenizer_calls
from pixiu_py.upstream.client import Client

if TYPE_CHECKING:
    from pixiu_py.filters.ai.kvcache.config import KvCacheConfig
    from pixiu_py.filters.ai.kvcache.load import Board
    from pixiu_py.filters.base import Context
    from pixiu_py.observability.metrics import Labels

#: Seconds that an idle connection is kept: less than the five after which the engines' servers close theirs.
_IDLE = 4.0

#: Tokens of all prompts that are kept: 64 MiB.
MOST_TOKENS = 2**24

Guards = Callable[[], dict[str, list[Calls]]]


class Toolbox:
    """The tools of one index."""

    def __init__(self, settings: KvCacheConfig, context: Context) -> None:
        self._settings = settings
        self._clock = context.clock
        breaker = settings.circuit_breaker
        self.limits = limits(
            breaker.failure_threshold or 5, breaker.recovery_timeout or 10.0, breaker.half_open_max_calls or 2
        )
        retry = settings.retry
        self._tries = Tries(retry.max_attempts, retry.base_backoff, retry.max_backoff)
        self.timeout = settings.request_timeout or 2.0
        self.client = Client(total=settings.max_idle_conns or 100, per_service=settings.max_conns_per_host, idle=_IDLE)
        self._cpu = CpuShare(time.process_time(), context.clock())
        metrics = context.metrics
        self._results = metrics.counter(
            "pixiu_py_kvcache_calls_total", "Calls to tokenizers and cache controllers.", ("call", "result")
        )
        self.background = metrics.counter(
            "pixiu_py_kvcache_background_total", "Jobs and cache operations in the background.", ("work", "result")
        )
        self.unfound = metrics.counter(
            "pixiu_py_kvcache_unfound_total", "Prompts that were used before and that the controller did not find."
        )
        self._seen = metrics.counter(
            "pixiu_py_kvcache_token_cache_total", "Looks into the cache of tokens.", ("result",)
        )
        self._states = metrics.reading(
            "pixiu_py_kvcache_breaker_state", "Breakers: 0 closed, 1 open, 2 half open; the worst of a call.", ("call",)
        )
        self._guards: Guards | None = None

    @property
    def job_time(self) -> float:
        """Seconds that a job in the background may take: every try of two calls and an operation, with the pauses."""
        tries = max(self._tries.most, 1)
        pauses = sum(self._tries.pause(number) or 0.0 for number in range(1, tries))
        return 5 * tries * self.timeout + 2 * pauses

    def calls(self, kind: str, *, may_repeat: bool = True) -> Calls:
        """The guard of one kind of call."""
        return Calls(kind, self.limits, self._tries, self._clock, self._results, may_repeat=may_repeat)

    def token_source(self) -> TokenSource:
        """The tokens of prompts."""
        wanted = self._settings.token_cache
        # aiocache loads every driver that is installed: a tenth of a second and 6 MB, for those who use it only.
        from pixiu_py.stores.cache import BoundedMemoryCache

        cache = (
            BoundedMemoryCache(wanted.max_size or 1024, wanted.ttl, self._clock, max_length=MOST_TOKENS)
            if wanted.enabled
            else None
        )
        return TokenSource(
            self.client,
            cache,
            lambda: tokenizer_calls(self.limits, self._tries, self._clock, self._results),
            self.timeout,
            self._seen,
            self._settings.vllm_endpoint,
        )

    def readings(self, board: Board | None, now: float) -> tuple[float, float]:
        """Load and cache usage of the engines, 0 to 1. Where no engine tells, the load is this process's share of a core."""
        load = board.ratio(now) if board is not None else None
        memory = board.cache_usage(now) if board is not None else None
        return self._cpu.read(time.process_time(), now) if load is None else load, memory or 0.0

    def watch(self, guards: Guards) -> None:
        """Tell the state of these breakers from now on."""
        self._guards = guards
        self._states.add(self._worst)

    async def close(self) -> None:
        """Tell it no more, and call nobody."""
        self._states.drop(self._worst)
        await self.client.close()

    def _worst(self) -> Iterator[tuple[Labels, float]]:
        for kind, guards in (self._guards() if self._guards else {}).items():
            states = [STATES[calls.breaker.state] for calls in guards]
            yield (kind,), 1 if 1 in states else max(states, default=0)


class CpuShare:
    """Share of one core that a process has used since the last reading that is at least a second old. Pure."""

    def __init__(self, used: float, now: float) -> None:
        self._used = used
        self._at = now
        self._share = 0.0

    def read(self, used: float, now: float) -> float:
        """The share, 0 to 1, given the CPU seconds used so far."""
        passed = now - self._at
        if passed >= 1.0:
            self._share = min(max((used - self._used) / passed, 0.0), 1.0)
            self._used, self._at = used, now
        return self._share
