"""What the indexes that ask a cache controller have in common: tokens, guarded calls, and work in the background.

A request waits for one try within the routing budget. What it could not wait for is done in the background, with more time
and more tries: the tokens are there for the next request, and whether the services are well is found out where nobody
waits. A controller that is well but too slow for the budget, time after time, is not waited for during a recovery time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from pixiu_py.filters.ai.kvcache.background import Background
from pixiu_py.filters.ai.kvcache.calls import Calls
from pixiu_py.filters.ai.kvcache.controller import Held
from pixiu_py.filters.ai.kvcache.hot import HotWindow
from pixiu_py.filters.ai.kvcache.index.base import IndexFailed, KvIndex, Matches
from pixiu_py.filters.ai.kvcache.instances import by_endpoint
from pixiu_py.filters.ai.kvcache.strategy import Decision, Done, Rules, decide
from pixiu_py.filters.ai.kvcache.tokens import key_of
from pixiu_py.filters.ai.kvcache.toolbox import Toolbox
from pixiu_py.filters.http.breaker import Breaker
from pixiu_py.upstream.client import CallFailed

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.filters.ai.kvcache.config import KvCacheConfig
    from pixiu_py.filters.ai.kvcache.prompt import Prompt
    from pixiu_py.filters.base import Context

log = structlog.get_logger("pixiu_py.filters.kvcache")

#: Jobs in the background at the same time; what comes above that is not done.
_MOST_JOBS = 64
#: Share of the routing budget after which a cancelled lookup was too slow, rather than its client gone.
_NEARLY = 0.9
#: Prompts used before that were not found, without any that was, after which something must be set up wrongly.
_SUSPICIOUS = 20


class RemoteIndex(KvIndex):
    """Base of the indexes that ask a controller."""

    #: Tokens of a chunk: shorter prompts are never found.
    chunk = 256

    def __init__(self, config: Any, settings: KvCacheConfig, context: Context) -> None:
        super().__init__(config, settings, context)
        self._clock = context.clock
        self._tools = tools = Toolbox(settings, context)
        self._tokens = tools.token_source()
        self._lookups = tools.calls("lookup")
        self._patience = Breaker(tools.limits)
        self._background = Background(_MOST_JOBS, tools.job_time, tools.background)
        strategy = settings.cache_strategy
        self._rules = Rules(
            load=strategy.load_threshold,
            memory=strategy.memory_threshold,
            hot=strategy.hot_content_threshold,
            compress=strategy.enable_compression,
            pin=strategy.enable_pinning,
            evict=strategy.enable_eviction,
        )
        most = settings.hot_max_keys or 10_000
        self._hot = HotWindow(settings.hot_window or 300.0, settings.hot_max_records or 300, most)
        self._done = Done(settings.hot_window or 300.0, most)
        self._told: set[str] = set()
        self._expected = 0
        self._found = False

    async def start(self) -> None:
        """See ``KvIndex.start``."""
        self._tools.watch(self._breakers)

    async def close(self) -> None:
        """See ``KvIndex.close``."""
        await self._background.close()
        await self._tokens.close()
        await self._tools.close()

    # --- for subclasses ------------------------------------------------------------------------------------------------

    def _ask(self, tokens: Sequence[int], prompt: Prompt, endpoints: Sequence[Endpoint]) -> Awaitable[dict[str, Held]]:
        """Instance → what it holds of the tokens. Raises ``CallFailed``."""
        raise NotImplementedError

    async def _carry_out(
        self, decision: Decision, tokens: Sequence[int], prompt: Prompt, endpoint: Endpoint, held: Mapping[str, Held]
    ) -> int | None:
        """Do it; returns how many tokens it concerned, None when it could not be said where. Raises ``CallFailed``."""
        raise NotImplementedError

    def _target(self, decision: Decision, key: bytes) -> bytes:
        """What an operation is about, so that it is not done twice: the prompt, unless said otherwise."""
        return key

    # --- routing -------------------------------------------------------------------------------------------------------

    async def lookup(self, prompt: Prompt, endpoints: Sequence[Endpoint]) -> Matches:
        """See ``KvIndex.lookup``."""
        if len(prompt.body) < self.chunk:  # a token is at least a byte: nobody need be asked
            return {}
        started = self._clock()
        if self._patience.ready_in(started):
            raise IndexFailed("slow", "lookups took longer than the routing budget")
        key = key_of(prompt.document, prompt.model)
        uses = self._hot.record(key, started)
        ticket = self._patience.admit(started)
        try:
            tokens = await self._tokens.tokens(prompt, endpoints)
            held: dict[str, Held] = {}
            if tokens is not None and len(tokens) >= self.chunk:
                held = await self._lookups.once(partial(self._ask, tokens, prompt, endpoints))
                self._expect(uses > 1, bool(held))
        except asyncio.CancelledError:
            if self._clock() - started >= self.settings.routing_budget * _NEARLY:
                self._patience.report(ticket, True, self._clock())
            else:
                self._patience.release(ticket)
            self._learn(key, prompt, endpoints)
            raise
        except CallFailed as error:
            self._patience.release(ticket)
            if error.may_pass:
                self._learn(key, prompt, endpoints)
            raise IndexFailed(error.kind, str(error)) from error
        except BaseException:
            self._patience.release(ticket)
            raise
        self._patience.report(ticket, False, self._clock())
        found = {instance: what.tokens for instance, what in held.items()}
        return by_endpoint(found, self.settings.instances, endpoints)

    def _expect(self, used: bool, found: bool) -> None:
        """Notice when nothing is ever found: hash seeds, chunk sizes or model names that differ look like an empty cache."""
        self._found = self._found or found
        if not used or found:
            return
        self._tools.unfound.inc()
        self._expected += 1
        if self._expected == _SUSPICIOUS and not self._found:
            log.warning("prompts that were served before are never found", index=self.settings.kind, hint=self.hint)

    #: What to look at when nothing is ever found.
    hint = ""

    def _learn(self, key: bytes, prompt: Prompt, endpoints: Sequence[Endpoint]) -> None:
        """Do again in the background what a request could not wait for."""

        async def learn() -> None:
            tokens = await self._tokens.tokens(prompt, endpoints, patiently=True)
            if tokens is not None and len(tokens) >= self.chunk:
                await self._lookups.patiently(partial(self._ask, tokens, prompt, endpoints))

        self._background.submit("learn", key, learn)

    # --- managing the cache ----------------------------------------------------------------------------------------------

    def routed(self, prompt: Prompt, endpoint: Endpoint) -> None:
        """See ``KvIndex.routed``: now the prompt is cached, and what is hot can be pinned."""
        if not self._rules.wanted:
            return
        now = self._clock()
        key = key_of(prompt.document, prompt.model)
        load, memory = self._tools.readings(self.board, now)
        due = [
            decision
            for decision in decide(self._rules, load, memory, self._hot.uses(key, now))
            if self._done.first(decision.operation, self._target(decision, key), now)
        ]
        if due and not self._background.submit("manage", key, partial(self._manage, due, key, prompt, endpoint)):
            self._undo(due, key)

    async def _manage(self, due: list[Decision], key: bytes, prompt: Prompt, endpoint: Endpoint) -> None:
        try:
            tokens = await self._tokens.tokens(prompt, [endpoint], patiently=True)
            if tokens is None or len(tokens) < self.chunk:
                return
            held = await self._lookups.patiently(partial(self._ask, tokens, prompt, [endpoint]))
        except BaseException:
            self._undo(due, key)
            raise
        for decision in due:
            await self._operate(decision, key, partial(self._carry_out, decision, tokens, prompt, endpoint, held))

    async def _operate(self, decision: Decision, key: bytes, work: Callable[[], Awaitable[int | None]]) -> None:
        """One operation; that it failed does not stop the next one."""
        operation = decision.operation
        try:
            concerned = await work()
        except CallFailed as error:
            self._done.undo(operation, self._target(decision, key))
            self._tools.background.inc((operation, "failed"))
            self._tell(operation, "cache operation failed", reason=decision.reason, error=str(error))
            return
        result = "no_target" if concerned is None else "ok" if concerned else "nothing"
        self._tools.background.inc((operation, result))
        if not concerned:
            self._tell(
                f"{operation} nothing", "cache operation did nothing", reason=decision.reason, operation=operation
            )

    def _tell(self, once: str, event: str, **what: object) -> None:
        if once not in self._told:
            self._told.add(once)
            log.warning(event, index=self.settings.kind, **what)

    def _undo(self, due: list[Decision], key: bytes) -> None:
        for decision in due:
            self._done.undo(decision.operation, self._target(decision, key))

    def _breakers(self) -> dict[str, list[Calls]]:
        return {"tokenize": list(self._tokens.calls.values()), "lookup": [self._lookups]}


def longest(held: Mapping[str, Held]) -> tuple[str, Held] | None:
    """The instance that holds the longest prefix."""
    return max(held.items(), key=lambda item: item[1].tokens, default=None)
