"""Load of event streams: raw asyncio connections that count events and, if asked, how long each one travelled."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.client import Client, Target, chat_request
from benchmarks.proc import BenchError
from benchmarks.upstream import STAMP_DIGITS

_MARK = b"data:"
_STAMP = re.compile(rb'"content":\s*"(\d{%d})"' % STAMP_DIGITS)


@dataclass
class Seen:
    """What was seen from the moment when every stream had begun until the first one ended, or all, where one had ended by then.

    Times in seconds.
    """

    events: int
    reads: int
    seconds: float
    #: How much the reading that the caller asked for went up.
    cost: float
    #: From the request to the first body byte, one per stream.
    first_event: list[float]
    #: From the upstream's write to the client's read, one per event, the first ones included.
    travel: list[float]


class StreamClient(Client):
    """Counts the events of the streams that it receives."""

    def __init__(self) -> None:
        super().__init__()
        self.events = 0
        self.reads = 0
        self.timed = False
        self.travel: list[float] = []
        self._end = b""

    def body_received(self, data: bytes) -> None:
        # The mark may be cut in two by a read: the end of the last one is looked at again.
        window = self._end + data
        self.events += window.count(_MARK)
        self.reads += 1
        self._end = data[-(len(_MARK) - 1) :]
        if self.timed:
            now = time.monotonic()
            self.travel.extend(now - int(stamp) / 1e6 for stamp in _STAMP.findall(data))


async def streams(
    target: Target,
    count: int,
    events: int,
    *,
    over: float = 0.0,
    timed: bool = False,
    read: Callable[[], float] = lambda: 0.0,
) -> Seen:
    """Read ``count`` streams of ``events`` events and a last one, ``[DONE]``; begin them spread over ``over`` seconds."""
    clients = [await StreamClient.connect(target) for _ in range(count)]
    for client in clients:
        client.timed = timed
    request = chat_request(target, stream=True)
    try:
        async with asyncio.timeout(120):
            ended = asyncio.Event()
            reading = asyncio.gather(
                *(_read(client, request, over * index / count, ended) for index, client in enumerate(clients))
            )
            while not (ended.is_set() or all(client.first_body_at for client in clients)):
                await asyncio.sleep(0.002)
            before = (time.monotonic(), read(), _arrived(clients), _reads(clients))
            # A proxy that cannot keep up may have ended one before it has begun them all.
            await (reading if ended.is_set() else ended.wait())
            after = (time.monotonic(), read(), _arrived(clients), _reads(clients))
            await reading
    finally:
        for client in clients:
            client.close()
    _check(_arrived(clients), count * (events + 1))
    seconds, cost, seen, reads = (now - then for now, then in zip(after, before, strict=True))
    if not seen:
        raise BenchError("the streams came one after the other")
    first_event = [client.first_body_at - client.sent_at for client in clients]
    return Seen(
        int(seen), int(reads), seconds, cost, first_event, [each for client in clients for each in client.travel]
    )


def _arrived(clients: list[StreamClient]) -> int:
    return sum(client.events for client in clients)


def _reads(clients: list[StreamClient]) -> int:
    return sum(client.reads for client in clients)


def _check(arrived: int, sent: int) -> None:
    # A proxy that cuts bodies into chunks of its own may cut a mark as well, which hides an event from the count; one that
    # writes events of its own may add some: arrivals only have to be near.
    if arrived < 0.99 * sent:
        raise BenchError(f"{sent} events were sent, {arrived} arrived")


async def _read(client: StreamClient, request: bytes, after: float, ended: asyncio.Event) -> None:
    await asyncio.sleep(after)
    try:
        await client.send(request)
    finally:
        ended.set()
