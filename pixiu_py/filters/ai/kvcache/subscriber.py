"""Hears vLLM's KV events over ZeroMQ and keeps the block index true.

The gateway binds, engines connect. Messages are published, not delivered: those before an engine had connected and those
that were lost are noticed by their numbers. An engine with a replay address is asked for them, others are forgotten.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from pixiu_py.errors import StartError
from pixiu_py.filters.ai.kvcache.blocks import BlockIndex
from pixiu_py.filters.ai.kvcache.events import BadMessage, Batch, batch_of
from pixiu_py.filters.ai.kvcache.replay import Replay, ReplayFailed, shifted
from pixiu_py.filters.ai.kvcache.sequence import Sequence, Step
from pixiu_py.tasks import Tasks

if TYPE_CHECKING:
    import zmq
    import zmq.asyncio

    from pixiu_py.observability.metrics import Counter

log = structlog.get_logger("pixiu_py.filters.kvcache")

#: Bytes of one message: some 100,000 blocks.
MAX_MESSAGE = 64 * 2**20
#: Messages that wait in ZeroMQ, and in one engine's queue while its replay is awaited.
QUEUE = 10_000
#: Engines, and ranks of engines, that are heard.
MOST_SOURCES = 1024
#: Messages that are taken before other tasks get their turn.
_BURST = 64

Source = tuple[str, int]


@dataclass(slots=True)
class Engine:
    """What is known of one engine's messages, or of one rank's."""

    sequence: Sequence = field(default_factory=Sequence)
    #: Messages that came while a replay is awaited; None: none is.
    held: deque[tuple[int, Batch]] | None = None


class Subscriber:
    """Listens for as long as it runs. ``prefix`` and the name of an engine make a topic, ``kv@inst-a@model``."""

    def __init__(
        self,
        index: BlockIndex,
        bind: str,
        prefix: str,
        replays: Mapping[str, str],
        events: Counter,
        replay_timeout: float = 5.0,
    ) -> None:
        self._index = index
        self._bind = bind
        self._prefix = prefix
        self._replays = replays
        self._replay_timeout = replay_timeout
        #: By result: ``taken``, ``skipped``, ``bad``, ``gap``, ``restart``, ``replayed``, ``forgotten``.
        self._events = events
        self._engines: dict[Source, Engine] = {}
        self._tasks = Tasks("kv events")
        self._context: zmq.asyncio.Context | None = None
        self._socket: zmq.asyncio.Socket | None = None

    async def start(self) -> None:
        """Bind and listen. Raises ``StartError`` when the address cannot be had."""
        import zmq
        import zmq.asyncio

        self._context = zmq.asyncio.Context(io_threads=1)
        socket = self._socket = self._context.socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, QUEUE)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE)
        socket.setsockopt(zmq.IPV6, int("[" in self._bind))
        socket.subscribe(self._prefix)
        try:
            socket.bind(self._bind)
        except zmq.ZMQError as error:
            raise StartError(f"kv-events: cannot listen on {self._bind}: {error.strerror}") from error
        _ = self._tasks.spawn(self._listen(socket), "listening")

    async def close(self) -> None:
        """Listen no more."""
        await self._tasks.close()
        if self._socket is not None:
            self._socket.close()
        if self._context is not None:
            self._context.term()
        self._socket = self._context = None

    @property
    def address(self) -> str:
        """Where it listens, with the port that the system gave when it was asked for any."""
        if self._socket is None:
            return self._bind
        import zmq

        return self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    async def _listen(self, socket: zmq.asyncio.Socket) -> None:
        count = 0
        while True:
            self.heard(await socket.recv_multipart())
            count += 1
            if count % _BURST == 0:  # a full queue is handed out without a pause
                await asyncio.sleep(0)

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
            log.warning("a message that is no KV event", error=str(error)[:200])
            return
        self._take((instance, batch.rank), int.from_bytes(frames[1], "big"), batch)

    def _take(self, source: Source, number: int, batch: Batch) -> None:
        engine = self._engines.get(source)
        if engine is None:
            if len(self._engines) >= MOST_SOURCES:
                self._events.inc(("bad",))
                return
            engine = self._engines[source] = Engine()
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
        if address is None or self._context is None:
            return False
        engine.held = deque([(number, batch)], maxlen=QUEUE)
        replay = Replay(self._context, shifted(address, rank), self._replay_timeout)
        _ = self._tasks.spawn(self._resync(source, engine, replay, number), f"replay of {instance}")
        return True

    async def _resync(self, source: Source, engine: Engine, replay: Replay, until: int) -> None:
        try:
            missed = await replay.fetch(engine.sequence.last + 1, QUEUE)
        except ReplayFailed as error:
            log.warning("KV events cannot be replayed", instance=source[0], error=str(error))
            missed = []
        held, engine.held = engine.held or deque(), None
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
