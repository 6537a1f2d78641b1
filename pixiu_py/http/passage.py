"""The short way of an event: from the endpoint's connection to the client's transport, past every sink in between.

A sink that would do nothing with a whole chunk but pass it on says so once, and from then on the connection writes such
chunks itself. Whatever is not such a chunk ends the passage, goes through the sinks, and they may grant another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from aiohttp.base_protocol import BaseProtocol

    from pixiu_py.http.exchange import Exchange


class Passage:
    """Where a whole chunk goes in its framing (RFC 9112 section 7.1), and what it has to look like."""

    __slots__ = ("cut", "ends", "exchange", "protocol", "transport", "watch")

    def __init__(self, protocol: BaseProtocol, transport: asyncio.Transport, exchange: Exchange) -> None:
        #: The client's connection, which says whether there is room.
        self.protocol = protocol
        self.transport = transport
        #: Counts the bytes that were sent.
        self.exchange = exchange
        #: What has to be at the end of a chunk, its framing included, and where that is.
        self.ends = b"\r\n"
        self.cut = -2
        #: Is shown each chunk in its framing before it is written.
        self.watch: Callable[[bytes], object] = _ignore

    def only(self, ends: bytes, watch: Callable[[bytes], object]) -> None:
        """For chunks whose data ends so; ``watch`` is shown them."""
        self.ends = ends + b"\r\n"
        self.cut = -len(self.ends)
        self.watch = watch


def _ignore(framed: bytes) -> None:
    """Nobody looks at this body."""
