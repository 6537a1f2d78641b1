"""Hears vLLM's KV events over ZeroMQ and keeps the block index true.

The gateway binds, engines connect. Messages are published, not delivered: those before an engine had connected and those
that were lost are noticed by their numbers. An engine with a replay address is asked for them, others are forgotten.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from pixiu_py.filters.ai.kvcache.blocks import BlockIndex
from pixiu_py.filters.ai.kvcache.events import BadMessage, Batch, batch_of
from pixiu_py.filters.ai.kvcache.feed import QUEUE, Feed
from pixiu_py.filters.ai.kvcache.replay import Replay, ReplayFailed, shifted
from pixiu_py.filters.ai.kvcache.sequence import Sequence, Step
from pixiu_py.tasks import Tasks

if TYPE_CHECKING:
    from pixiu_py.observability.metrics import Counter

log = structlog.get_logger("pixiu_py.filters.kvcache")

#: Engines, and ranks of engines, that are heard.
MOST_SOURCES = 1024

Source = tuple[str, int]


@dataclass(slots=True)
class Engine:
    """What is known of one engine's messages, or of one rank's."""

    sequence: Sequence = field(default_factory=Sequence)
    #: Messages that came while a replay is awaited, at most ``QUEUE``; None: none is.
    held: deque[tuple[int, Batch]] | None = None


class Subscriber:
    """Listens for as long as it runs. ``prefix`` and the name of an engine make a topic, ``kv@inst-a@model``.

    ``duty``: see ``Feed``.
    """

    def __init__(
        self,
        index: BlockIndex,
        bind: str,
        prefix: str,
        replays: Mapping[str, str],
        events: Counter,
        replay_timeout: float = 5.0,
        duty: asyncio.Event | None = None,
    ) -> None:
        self._index = index
        self._replays = replays
        self._replay_timeout = replay_timeout
        #: By result: ``taken``, ``skipped``, ``bad``, ``gap``, ``restart``, ``replayed``, ``forgotten``.
        self._events = events
        #: The one that was heard last stands last.
        self._engines: dict[Source, Engine] = {}
        self._tasks = Tasks("kv events")
        self._feed = Feed(bind, prefix, self.heard, duty, os.getppid())
        self._told = False

    async def start(self) -> None:
        """Listen. Raises ``StartError`` when the address cannot be had."""
        await self._feed.start()

    async def close(self) -> None:
        """Listen no more."""
        await self._tasks.close()
        await self._feed.close()

    @property
    def address(self) -> str:
        """Where it listens."""
        return self._feed.address

    def forget(self, instance: str) -> None:
        """Nothing is known of this engine any more; what it sends next shows that something was missed."""
        for source, engine in self._engines.items():
            if source[0] == instance:
                self._index.forget(*source)
                engine.sequence.begin()

    def heard(self, frames: list[bytes]) -> None:
        """Take one message: topic, number, payload."""
        try:
            if len(frames) != 3 or len(frames[1]) != 8:
                raise BadMessage("not topic, number and payload")
            instance = instance_of(frames[0].decode("utf-8"))
            batch = batch_of(frames[2])
        except (BadMessage, UnicodeDecodeError) as error:
            self._events.inc(("bad",))
            if not self._told:  # whoever reaches the port could fill the log
                self._told = True
                log.warning("a message that is no KV event", error=str(error)[:200])
            return
        self._take((instance, batch.rank), int.from_bytes(frames[1], "big"), batch)

    def _take(self, source: Source, number: int, batch: Batch) -> None:
        engine = self._engine(source)
        if engine.held is not None:
            if len(engine.held) == QUEUE:
                engine.held.clear()  # the numbers will tell
            engine.held.append((number, batch))
            return
        step = engine.sequence.judge(number, batch.time)
        if step is Step.SKIP:
            self._events.inc(("skipped",))
            return
        if step in (Step.RESTART, Step.RESTART_GAP):
            self._events.inc(("restart",))
            log.info("engine has begun anew", instance=source[0], rank=source[1])
            self._index.forget(*source)
            engine.sequence.begin()
        if step in (Step.GAP, Step.RESTART_GAP):
            self._events.inc(("gap",))
            if self._ask(source, engine, number, batch):
                return
            self._forget(source, engine, number)
        self._apply(source, engine, number, batch)

    def _engine(self, source: Source) -> Engine:
        """What is known of an engine. One too many takes the place of the one that has been silent longest: names of
        engines come and go with their machines.
        """
        engine = self._engines.pop(source, None)
        if engine is None:
            if len(self._engines) >= MOST_SOURCES:
                gone = next(iter(self._engines))
                del self._engines[gone]
                self._index.drop(*gone)
            engine = Engine()
        self._engines[source] = engine
        return engine

    def _apply(self, source: Source, engine: Engine, number: int, batch: Batch) -> None:
        self._index.apply(*source, batch.events)
        engine.sequence.took(number, batch.time)
        self._events.inc(("taken",))

    def _forget(self, source: Source, engine: Engine, number: int) -> None:
        """What comes next is taken, and all before it is unknown."""
        if engine.sequence.last >= 0:
            self._events.inc(("forgotten",))
            log.warning("KV events were lost", instance=source[0], after=engine.sequence.last, before=number)
        self._index.forget(*source)
        engine.sequence.give_up(number)

    # --- asking for what was missed ----------------------------------------------------------------------------------

    def _ask(self, source: Source, engine: Engine, number: int, batch: Batch) -> bool:
        """Begin to ask for what is missing before this message; False when there is nobody to ask."""
        instance, rank = source
        address = self._replays.get(instance)
        context = self._feed.context
        if address is None or context is None:
            return False
        engine.held = deque([(number, batch)], maxlen=QUEUE)
        replay = Replay(context, shifted(address, rank), self._replay_timeout)
        _ = self._tasks.spawn(self._resync(source, engine, replay, number), f"replay of {instance}")
        return True

    async def _resync(self, source: Source, engine: Engine, replay: Replay, until: int) -> None:
        try:
            missed = await replay.fetch(engine.sequence.last + 1, QUEUE)
        except ReplayFailed as error:
            log.warning("KV events cannot be replayed", instance=source[0], error=str(error))
            missed = []
        held, engine.held = engine.held or deque(), None
        if self._engines.get(source) is not engine:
            return  # it has made room meanwhile
        if not missed or missed[0][0] != engine.sequence.last + 1:
            self._forget(source, engine, missed[0][0] if missed else until)
        for number, batch in missed:
            self._index.apply(*source, batch.events)
            engine.sequence.took(number, batch.time)
            self._events.inc(("replayed",))
        for number, batch in held:
            self._late(source, engine, number, batch)

    def _late(self, source: Source, engine: Engine, number: int, batch: Batch) -> None:
        """A message that had to wait for the replay. What is missing still is given up: nobody is asked twice."""
        step = engine.sequence.judge(number, batch.time)
        if step is Step.SKIP:
            return
        if step in (Step.RESTART, Step.RESTART_GAP):
            engine.sequence.begin()
        if step is not Step.TAKE:
            self._forget(source, engine, number)
        self._apply(source, engine, number, batch)


def instance_of(topic: str) -> str:
    """The engine's name in a topic such as ``kv@inst-a@model``; the whole topic when it has no such form."""
    parts = topic.split("@")
    return parts[1] if len(parts) > 1 and parts[1] else topic
