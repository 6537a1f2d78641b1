"""Load of event streams: raw asyncio connections that count events and, if asked, how long each one travelled."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field

from benchmarks.client import Client, Target, chat_request
from benchmarks.proc import BenchError
from benchmarks.upstream import STAMP_DIGITS

_MARK = b"data:"
_STAMP = re.compile(rb'"content":\s*"(\d{%d})"' % STAMP_DIGITS)


@dataclass
class Seen:
    """What the clients of one round saw. Times in seconds."""

    events: int = 0
    reads: int = 0
    seconds: float = 0.0
    #: From the request to the first body byte, one per stream.
    first_event: list[float] = field(default_factory=list)
    #: From the upstream's write to the client's read, one per event.
    travel: list[float] = field(default_factory=list)


class StreamClient(Client):
    """Counts the events of the streams that it receives."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = Seen()
        self.timed = False
        self._end = b""

    def body_received(self, data: bytes) -> None:
        # The mark may be cut in two by a read: the end of the last one is looked at again.
        window = self._end + data
        self.seen.events += window.count(_MARK)
        self.seen.reads += 1
        self._end = data[-(len(_MARK) - 1) :]
        if self.timed:
            now = time.monotonic()
            self.seen.travel.extend(now - int(stamp) / 1e6 for stamp in _STAMP.findall(data))


async def streams(target: Target, count: int, events: int, *, over: float = 0.0, timed: bool = False) -> Seen:
    """Read ``count`` streams of ``events`` events and a last one, ``[DONE]``; begin them spread over ``over`` seconds."""
    clients = [await StreamClient.connect(target) for _ in range(count)]
    for client in clients:
        client.timed = timed
    request = chat_request(target, stream=True)
    begun = time.monotonic()
    try:
        async with asyncio.timeout(120):
            await asyncio.gather(
                *(_read(client, request, over * index / count) for index, client in enumerate(clients))
            )
    finally:
        for client in clients:
            client.close()
    total = Seen(seconds=time.monotonic() - begun)
    for client in clients:
        total.events += client.seen.events
        total.reads += client.seen.reads
        total.travel += client.seen.travel
        total.first_event.append(client.first_body_at - client.sent_at)
    _check(total, count * (events + 1))
    return total


def _check(total: Seen, sent: int) -> None:
    # A proxy that cuts bodies into chunks of its own may cut a mark as well, which hides an event from the count; one that
    # writes events of its own may add some. What counts is how many were sent.
    if total.events < 0.99 * sent:
        raise BenchError(f"{sent} events were sent, {total.events} arrived")
    total.events = sent


async def _read(client: StreamClient, request: bytes, after: float) -> None:
    await asyncio.sleep(after)
    await client.send(request)
