"""A look at the beginning of a successful response before the client gets it.

A 200 stream can fail before it says anything. While another endpoint could still answer, its first event is held, for a
bounded time, until it is known not to be an error. With no other endpoint left nothing is held (see ``walk.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pixiu_py.errors import StreamTruncated
from pixiu_py.filters.llm.dialect import early_error
from pixiu_py.http.sse import SseParser

if TYPE_CHECKING:
    from collections.abc import Callable

    from pixiu_py.upstream.response import UpstreamResponse


class Limits(NamedTuple):
    """How much of a stream may be held: for how many seconds, and how many bytes."""

    seconds: float
    size: int


async def refused(
    response: UpstreamResponse, event_stream: bool, limits: Limits, clock: Callable[[], float]
) -> tuple[int, str, bytes] | None:
    """(status, message, bytes held) of a response that begins with an error; None when it may be sent on.

    Raises ``UpstreamError`` when it breaks, or ends, before its first event.
    """
    if not await response.ready(limits.seconds):
        return None
    if not event_stream:
        return None  # it has begun, and one part of a document tells nothing about the rest
    return await _first_event(response, clock() + limits.seconds, limits.size, clock)


async def _first_event(
    response: UpstreamResponse, deadline: float, size: int, clock: Callable[[], float]
) -> tuple[int, str, bytes] | None:
    parser = SseParser(size)
    held = b""
    while len(held) < size:
        chunk = await response.read()
        if not chunk:
            raise StreamTruncated("the stream ended before its first event")
        held += chunk
        for event in parser.feed(chunk):
            if event.data is None:
                continue  # a comment tells nothing
            error = early_error(event.name, event.data)
            if error is not None:
                return (*error, held)
            response.unread(held)
            return None
        if not await response.ready(max(0.0, deadline - clock())):
            break
    response.unread(held)
    return None
