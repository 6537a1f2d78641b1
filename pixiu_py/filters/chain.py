"""A compiled filter chain: which hooks exist, and in which order they are called.

Decode runs in config order and stops at the first filter that answers. Encode, encode_chunk and done run in reverse, over
the filters that were entered: a local reply made by the second of five passes the second and the first.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from pixiu_py.filters.base import HttpFilter, overrides
from pixiu_py.http.exchange import Response

if TYPE_CHECKING:
    from pixiu_py.http.exchange import Exchange

log = structlog.get_logger("pixiu_py.filters")

#: What is no fault of a filter that it passes through. All else is, also what derives from no ``Exception``: a library's
#: ``sys.exit()``, or a panic in one that is written in Rust, must not end a gateway.
NOT_OURS = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt)

#: (position in the chain, hook, whether it must be awaited)
Hook = tuple[int, Callable[..., Any], bool]


class FilterChain:
    """The filters of one route, ready to be called. Immutable."""

    __slots__ = (
        "_chunks",
        "_decode",
        "_done",
        "_encode",
        "_ends",
        "awaits_done",
        "awaits_encode",
        "encodes",
        "filters",
        "rewriters",
        "sees_bodies",
    )

    def __init__(self, filters: Sequence[HttpFilter]) -> None:
        self.filters = tuple(filters)
        self._decode = self._hooks("decode")
        self._encode = tuple(reversed(self._hooks("encode")))
        self._chunks = tuple(reversed(self._hooks("encode_chunk")))
        self._ends = {position: call for position, call, _ in self._hooks("encode_end")}
        self._done = tuple(reversed(self._hooks("done")))
        #: True when some filter's done is a coroutine.
        self.awaits_done = any(is_async for _, _, is_async in self._done)
        #: True when some filter's encode is a coroutine.
        self.awaits_encode = any(is_async for _, _, is_async in self._encode)
        #: False when no filter has an encode.
        self.encodes = bool(self._encode)
        #: False when no filter wants to see bodies: they are then sent as they are.
        self.sees_bodies = bool(self._chunks or self._ends)
        #: Positions of the filters that may change the length of a body.
        self.rewriters = tuple(
            position
            for position, filter_ in enumerate(self.filters)
            if filter_.rewrites_body and (overrides(filter_, "encode_chunk") or overrides(filter_, "encode_end"))
        )

    def _hooks(self, name: str) -> tuple[Hook, ...]:
        return tuple(
            (position, getattr(filter_, name), inspect.iscoroutinefunction(getattr(filter_, name)))
            for position, filter_ in enumerate(self.filters)
            if overrides(filter_, name)
        )

    async def decode(self, exchange: Exchange) -> Response | None:
        """Run the request through the filters; the first response ends it. None when no filter answered."""
        for position, call, is_async in self._decode:
            exchange.entered = position + 1
            answer = await call(exchange) if is_async else call(exchange)
            if answer is None:
                continue
            response: Response | None = answer if isinstance(answer, Response) else await answer
            if response is not None:
                return response
        exchange.entered = len(self.filters)
        return None

    async def encode(self, exchange: Exchange) -> None:
        """Run the response head back through the filters that were entered."""
        for position, call, is_async in self._encode:
            if position >= exchange.entered:
                continue
            if is_async:
                await call(exchange)
            else:
                call(exchange)

    def encode_now(self, exchange: Exchange) -> None:
        """The same without waiting, for a chain where ``awaits_encode`` is False."""
        for position, call, _ in self._encode:
            if position < exchange.entered:
                call(exchange)

    def rewrites(self, exchange: Exchange) -> bool:
        """True when some entered filter may change the body's length."""
        return any(position < exchange.entered for position in self.rewriters)

    def watches(self, exchange: Exchange) -> bool:
        """True when some entered filter wants to see the body."""
        return any(position < exchange.entered for position, _, _ in self._chunks) or any(
            position < exchange.entered for position in self._ends
        )

    def encode_chunk(self, exchange: Exchange, chunk: bytes) -> bytes:
        """Pass one piece of the body through the filters that asked."""
        for position, call, _ in self._chunks:
            if position < exchange.entered and chunk:
                chunk = call(exchange, chunk)
        return chunk

    def encode_end(self, exchange: Exchange) -> bytes:
        """Collect what the filters held back; what one returns still passes those after it."""
        rest = b""
        for position in range(len(self.filters) - 1, -1, -1):
            if position >= exchange.entered:
                continue
            for at, call, _ in self._chunks:
                if at == position and rest:
                    rest = call(exchange, rest)
            end = self._ends.get(position)
            if end is not None:
                rest += end(exchange)
        return rest

    async def done(self, exchange: Exchange) -> None:
        """Tell every entered filter that it is over. One that fails is logged and does not keep the others from hearing."""
        for position, call, is_async in self._done:
            if position >= exchange.entered:
                continue
            try:
                if is_async:
                    await call(exchange)
                else:
                    call(exchange)
            except NOT_OURS:
                raise
            except BaseException:  # noqa: BLE001 - a fault in one filter's book-keeping must not lose another's
                self._log_fault(position)

    def done_now(self, exchange: Exchange) -> None:
        """The same without waiting, for a chain where ``awaits_done`` is False."""
        for position, call, _ in self._done:
            if position >= exchange.entered:
                continue
            try:
                call(exchange)
            except NOT_OURS:
                raise
            except BaseException:  # noqa: BLE001 - as above
                self._log_fault(position)

    def _log_fault(self, position: int) -> None:
        log.exception("filter failed in done", filter=type(self.filters[position]).__name__)
