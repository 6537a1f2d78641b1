"""KV events over ZeroMQ: recorded ones, lost ones, and engines that begin anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from pixiu_py.errors import StartError
from pixiu_py.filters.ai.kvcache import subscriber as module
from pixiu_py.filters.ai.kvcache.blocks import BlockIndex
from pixiu_py.filters.ai.kvcache.subscriber import Subscriber, instance_of
from pixiu_py.observability.metrics import Counter
from tests.fakes.kv_publisher import Publisher, message, recorded, stored

TOPIC = b"kv@inst-a@tiny"
PROMPT = [1, 2, 3, 4]


class Heard:
    """A subscriber, its index, and what it counted."""

    def __init__(self, replays: dict[str, str] | None = None, bind: str = "tcp://127.0.0.1:*") -> None:
        self.index = BlockIndex(1000)
        self.events = Counter("events", "", ("result",))
        self.subscriber = Subscriber(self.index, bind, "kv@", {} if replays is None else replays, self.events)

    def hear(self, number: int, payload: bytes, topic: bytes = TOPIC) -> None:
        """A message, as if it had come over the network."""
        self.subscriber.heard([topic, number.to_bytes(8, "big"), payload])

    @property
    def counts(self) -> dict[str, int]:
        """Messages by result."""
        return {labels[0]: int(count) for labels, count in self.events.series.items()}

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that another socket brings: it has no event of ours."""
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.005)


@asynccontextmanager
async def listening(replays: dict[str, str] | None = None) -> AsyncIterator[Heard]:
    """A subscriber that has started."""
    heard = Heard(replays)
    await heard.subscriber.start()
    try:
        yield heard
    finally:
        await heard.subscriber.close()


async def test_recorded_messages_over_a_real_socket() -> None:
    """vLLM's own bytes, from an engine that connects to us."""
    async with listening() as heard, Publisher(heard.subscriber.address) as engine:
        for number, payload in recorded()[:3]:
            await engine.publish(number, payload)
        await heard.until(lambda: heard.counts.get("taken") == 3)
    assert heard.index.lookup(range(100, 200)) == {"inst-a": 96}
    assert heard.counts == {"gap": 1, "taken": 3}, "the first was number 6: some before it were missed"


async def test_other_topics_are_not_heard() -> None:
    """The prefix is what is subscribed to."""
    async with listening() as heard, Publisher(heard.subscriber.address) as engine:
        engine.topic = b"other@inst-a"
        await engine.publish(0, message(1.0, stored([1], [1, 2])))
        engine.topic = TOPIC
        await engine.publish(0, message(1.0, stored([1], [1, 2, 3])))
        await heard.until(lambda: len(heard.index) > 0)
    assert heard.counts == {"taken": 1}


def test_a_gap_without_replay_forgets() -> None:
    """What was lost may have been a removal: nothing from before counts any more, and what comes does."""
    heard = Heard()
    heard.hear(0, message(1.0, stored([1], [1, 2])))
    heard.hear(2, message(2.0, stored([3], [7, 8])))
    assert heard.index.lookup([1, 2]) == {}
    assert heard.index.lookup([7, 8]) == {"inst-a": 2}
    heard.hear(3, message(3.0, stored([4], [9, 9], parent=3)))
    assert heard.index.lookup([7, 8, 9, 9]) == {"inst-a": 4}
    assert heard.counts == {"taken": 3, "gap": 1, "forgotten": 1}


def test_an_engine_that_begins_anew() -> None:
    """Number 0 again, and later: its old cache is gone."""
    heard = Heard()
    heard.hear(0, message(1.0, stored([1], [1, 2])))
    heard.hear(1, message(2.0, stored([2], [3, 4], parent=1)))
    heard.hear(0, message(9.0, stored([5], [1, 2])))
    assert heard.index.lookup(PROMPT) == {"inst-a": 2}
    heard.hear(3, message(20.0, stored([6], [3, 4], parent=5)))
    assert heard.index.lookup(PROMPT) == {}
    heard.hear(1, message(30.0, stored([7], [3, 4])))
    assert heard.index.lookup([3, 4]) == {"inst-a": 2}, "begun anew, and its first message missed"


def test_other_engines_are_not_touched() -> None:
    """Numbers are counted for each engine, and for each rank of it."""
    heard = Heard()
    heard.hear(0, message(1.0, stored([1], [1, 2])))
    heard.hear(0, message(1.0, stored([1], [1, 2])), b"kv@inst-b@tiny")
    heard.hear(0, message(1.0, stored([1], [1, 2]), rank=1))
    heard.hear(5, message(2.0))
    assert heard.index.lookup([1, 2]) == {"inst-a": 2, "inst-b": 2}


@pytest.mark.parametrize(
    "frames", [[], [TOPIC], [TOPIC, b"1", b""], [TOPIC, b"\0" * 8, b"\xc1"], [b"\xff", b"\0" * 8, message(1.0)]]
)
def test_garbage_is_counted(frames: list[bytes]) -> None:
    """Anybody who reaches the port can send anything."""
    heard = Heard()
    heard.subscriber.heard(frames)
    assert heard.counts == {"bad": 1}


def test_engines_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names come over the network, and go with their machines: who has been silent longest makes room."""
    monkeypatch.setattr(module, "MOST_SOURCES", 2)
    heard = Heard()
    for number, name in enumerate((b"a", b"b", b"a", b"c")):
        heard.hear(number // 2, message(1.0 + number, stored([number], [1, 2])), b"kv@%b@tiny" % name)
    assert heard.index.lookup([1, 2]) == {"a": 2, "c": 2}


async def test_an_engine_that_made_room_is_not_filled_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for it comes too late."""
    monkeypatch.setattr(module, "MOST_SOURCES", 1)
    replays: dict[str, str] = {}
    async with listening(replays) as heard, Publisher(heard.subscriber.address) as engine:
        replays["inst-a"] = engine.replay_address
        await engine.publish(0, message(1.0, stored([1], [1, 2])), send=False)
        await engine.publish(1, message(2.0, stored([2], [3, 4], parent=1)))
        await heard.until(lambda: heard.counts.get("gap") == 1)
        heard.hear(0, message(1.0, stored([1], [1, 2])), b"kv@inst-b@tiny")
        await engine.serve_replay()
        await heard.until(lambda: not len(heard.subscriber._tasks))
        assert heard.index.lookup([1, 2, 3, 4]) == {"inst-b": 2}


async def test_a_gap_is_filled_by_a_replay() -> None:
    """Nothing is forgotten when the engine can say what was missed; what came meanwhile is not taken twice."""
    replays: dict[str, str] = {}
    async with listening(replays) as heard, Publisher(heard.subscriber.address) as engine:
        replays["inst-a"] = engine.replay_address
        await engine.publish(0, message(1.0, stored([1], [1, 2])))
        await heard.until(lambda: heard.counts.get("taken") == 1)
        await engine.publish(1, message(2.0, stored([2], [3, 4], parent=1)), send=False)
        await engine.publish(2, message(3.0, stored([3], [5, 6], parent=2)))
        await heard.until(lambda: heard.counts.get("gap") == 1)
        await engine.publish(3, message(4.0, stored([4], [7, 8], parent=3)))
        await engine.serve_replay()
        await heard.until(lambda: heard.index.lookup([1, 2, 3, 4, 5, 6, 7, 8]) == {"inst-a": 8})
    assert engine.asked == [1]
    assert len(heard.index) == 4


async def test_a_gateway_that_starts_late_asks_from_the_beginning() -> None:
    """The first message heard is not number 0."""
    replays: dict[str, str] = {}
    async with listening(replays) as heard, Publisher(heard.subscriber.address) as engine:
        replays["inst-a"] = engine.replay_address
        for number, payload in ((0, message(1.0, stored([1], [1, 2]))), (1, message(2.0, stored([2], [3, 4], 1)))):
            await engine.publish(number, payload, send=number == 1)
        await engine.serve_replay()
        await heard.until(lambda: heard.index.lookup(PROMPT) == {"inst-a": 4})
    assert engine.asked == [0]


async def test_a_replay_that_does_not_reach_back_forgets() -> None:
    """The engine's buffer is bounded, too: what it still has is taken, what was before is unknown."""
    replays: dict[str, str] = {}
    async with listening(replays) as heard, Publisher(heard.subscriber.address) as engine:
        replays["inst-a"] = engine.replay_address
        await engine.publish(0, message(1.0, stored([1], [1, 2])), keep=False)
        await heard.until(lambda: heard.counts.get("taken") == 1)
        await engine.publish(5, message(5.0, stored([5], [5, 6])), send=False)
        await engine.publish(6, message(6.0, stored([6], [7, 8], parent=5)))
        await engine.serve_replay()
        await heard.until(lambda: heard.index.lookup([5, 6, 7, 8]) == {"inst-a": 4})
        assert heard.index.lookup([1, 2]) == {}


async def test_a_replay_that_fails_forgets() -> None:
    """Then the gap is one like any other."""
    replays: dict[str, str] = {}
    async with listening(replays) as heard, Publisher(heard.subscriber.address) as engine:
        replays["inst-a"] = engine.replay_address
        await engine.publish(0, message(1.0, stored([1], [1, 2])))
        await engine.publish(2, message(2.0, stored([3], [7, 8])))
        await engine.send_replay(b"garbage")
        await heard.until(lambda: heard.index.lookup([7, 8]) == {"inst-a": 2})
        assert heard.index.lookup([1, 2]) == {}


async def test_an_address_that_is_taken() -> None:
    """A gateway that cannot listen says so at its start, and leaves nothing open."""
    async with listening() as heard:
        second = Heard(bind=heard.subscriber.address)
        with pytest.raises(StartError, match=r"cannot listen on tcp://127\.0\.0\.1:\d+: Address already in use"):
            await second.subscriber.start()
        await second.subscriber.close()


def test_names_in_topics() -> None:
    """llm-d's form, and anything else as it is."""
    assert instance_of("kv@inst-a@tiny") == "inst-a"
    assert instance_of("kv@10.0.0.1:8000@meta/llama@v3") == "10.0.0.1:8000"
    assert instance_of("inst-a") == "inst-a"
    assert instance_of("kv@@tiny") == "kv@@tiny"
