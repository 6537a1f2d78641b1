"""Where conversations are kept: a store behind a wall. Whatever fails there, no request fails, and none waits for a write.

Reading waits for the store, for as long as the store allows itself. Writing is done behind the request, by one task, and what
waits is bounded; until it is written, what is read here is what will be written. At the end everything that waits is written.

Two that write at once do not undo each other: each change is made to what is really there (``Change.onto``), in one step
with the look at it.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Protocol

import structlog

from pixiu_py.filters.llm.router.affinity import Pin, pin
from pixiu_py.filters.llm.router.session_binding import Binding, decode, encode
from pixiu_py.observability.seldom import Seldom
from pixiu_py.stores.base import StoreError
from pixiu_py.stores.memory import MemoryStore
from pixiu_py.tasks import Tasks

if TYPE_CHECKING:
    from pixiu_py.filters.base import Context
    from pixiu_py.filters.llm.router.session_model import Routing
    from pixiu_py.stores.base import Store

log = structlog.get_logger("pixiu_py.filters.router")

#: How many changes are on their way to the store at once.
_ABREAST = 16
#: How often a change is tried that others keep getting ahead of.
_TRIES = 4

_HIT = ("hit",)
_MISS = ("miss",)


class Change(Protocol):
    """What one request makes of a conversation."""

    def onto(self, current: Binding | None) -> Binding | None:
        """The binding after it, ``current`` when there is nothing to change."""


class Known(NamedTuple):
    """What a store has of a conversation: ``data`` is what it really holds, ``binding`` and ``pin`` the sense it makes."""

    binding: Binding | None = None
    data: bytes | None = None
    pin: Pin | None = None


NOTHING = Known()


def _known(binding: Binding | None, data: bytes) -> Known:
    return Known(binding, data, None if binding is None else pin(binding.model_name, binding.route_name))


@lru_cache(maxsize=512)
def _read(data: bytes) -> Known:
    """What ``data`` says. Remembered: many conversations are pinned to the same few models."""
    return _known(decode(data), data)


class _Waiting:
    """Changes of one conversation that wait to be written, and what it will be with them."""

    __slots__ = ("before", "binding", "changes")

    def __init__(self, before: Known) -> None:
        #: What the store held when it was last read.
        self.before = before.data
        self.binding = before.binding
        self.changes: list[Change] = []

    def add(self, change: Change) -> None:
        """One more change."""
        self.changes.append(change)
        self.binding = change.onto(self.binding)


class SessionStore:
    """The conversations of one filter. None of its methods raises, save ``start``."""

    def __init__(self, store: Store, config: Routing, context: Context) -> None:
        self._store = store
        self._memory = store if type(store) is MemoryStore else None
        self._ttl = float(config.session_ttl_seconds)
        #: True when a session's time counts from its latest use.
        self.sliding = config.session_ttl == "sliding"
        self._max_pending = config.session_max_pending
        self._close_timeout = config.session_close_timeout
        self._events = context.metrics.counter(
            "pixiu_router_sessions_total",
            "Looks at and writes of sessions: hit, miss, error; store, store_error, dropped (too many wait).",
            ("outcome",),
        )
        self._tasks = Tasks("sessions")
        self._writing: asyncio.Task[None] | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._flying: dict[str, Binding | None] = {}
        self._more = asyncio.Event()
        self._closing = False
        self._failures = Seldom(context.clock)

    async def start(self) -> None:
        """Open the store. Raises ``StartError``."""
        await self._store.start()
        if self._ttl:
            self._writing = self._tasks.spawn(self._write(), "write")

    async def close(self) -> None:
        """Write what waits, within the time for it, and close the store."""
        self._closing = True
        self._more.set()
        if self._writing is not None:
            await asyncio.wait((self._writing,), timeout=self._close_timeout)
        await self._tasks.close()
        if self._waiting:
            self._events.inc(("dropped",), len(self._waiting))
            log.warning("sessions not written before the end", count=len(self._waiting))
            self._waiting.clear()
        await self._store.close()

    async def get(self, key: str) -> Known:
        """What is known of a conversation. A store that fails knows nothing."""
        if not self._ttl:
            return NOTHING
        binding = self._unwritten(key) if self._waiting or self._flying else None
        if binding is not None:
            self._events.inc(_HIT)
            return _known(binding, encode(binding))
        try:
            data = await self._store.get(key)
            found = NOTHING if data is None else _read(data)
        except Exception as error:  # noqa: BLE001 - stores are plugins, and none may cost a request
            self._failed("error", error)
            return NOTHING
        self._events.inc(_MISS if found.binding is None else _HIT)
        return found

    def stands(self, key: str, known: Known) -> bool:
        """True when a conversation is certainly still as ``known``: a look into memory, which waits for nothing."""
        memory = self._memory
        if memory is None or self._waiting or self._flying or memory.get_now(key) != known.data:
            return False
        self._events.inc(_HIT)
        return True

    def put(self, key: str, known: Known, change: Change) -> None:
        """Change a conversation, of which ``known`` was read."""
        if not self._ttl:
            return
        waiting = self._waiting.get(key)
        if waiting is None:
            if len(self._waiting) >= self._max_pending:
                self._events.inc(("dropped",))
                return
            flying = self._flying.get(key)
            before = known if flying is None else Known(flying, encode(flying))
            waiting = self._waiting[key] = _Waiting(before)
            self._more.set()
        waiting.add(change)

    # --- writing -------------------------------------------------------------------------------------------------

    def _unwritten(self, key: str) -> Binding | None:
        waiting = self._waiting.get(key)
        return self._flying.get(key) if waiting is None else waiting.binding

    async def _write(self) -> None:
        while self._waiting or not self._closing:
            if not self._waiting:
                self._more.clear()
                await self._more.wait()
                continue
            keys = list(islice(self._waiting, _ABREAST))
            batch = [(key, self._waiting.pop(key)) for key in keys]
            self._flying = {key: waiting.binding for key, waiting in batch}
            await asyncio.gather(*(self._settle(key, waiting.before, waiting.changes) for key, waiting in batch))
            self._flying = {}

    async def _settle(self, key: str, data: bytes | None, changes: list[Change]) -> None:
        """Make the changes to what is really there; ``data`` is what is thought to be."""
        try:
            for _ in range(_TRIES):
                binding = changed = None if data is None else decode(data)
                for change in changes:
                    changed = change.onto(changed)
                if changed is None or (changed == binding and not self.sliding):
                    return
                if await self._put(key, data, encode(changed)):
                    self._events.inc(("store",))
                    return
                data = await self._store.get(key)
            raise StoreError("others keep changing the session")
        except Exception as error:  # noqa: BLE001 - see get; and one session that cannot be written keeps no other from it
            self._failed("store_error", error)

    async def _put(self, key: str, before: bytes | None, new: bytes) -> bool:
        if before is None:
            return await self._store.add(key, new, self._ttl)
        return await self._store.swap(key, before, new, self._ttl)

    def _failed(self, outcome: str, error: Exception) -> None:
        """Count it; say it once in a while, not for each request. What is no ``StoreError`` is a fault of the store."""
        self._events.inc((outcome,))
        if failures := self._failures.happened():
            fault = None if isinstance(error, StoreError) else error
            reason = repr(fault) if fault else str(error)
            log.warning("session store failed, going on without", reason=reason, failures=failures, exc_info=fault)
