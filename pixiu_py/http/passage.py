"""The short way of an event: from the endpoint's connection to the client's transport, past every sink in between.

A sink that would do nothing with a whole chunk but pass it on says so once, and from then on the connection writes such
chunks itself. Whatever is not such a chunk ends the passage, goes through the sinks, and they may grant another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from aiohttp.base_protocol import BaseProtocol

    from pixiu_py.http.exchange import Exchange


class Passage:
    """Where a whole chunk goes in its framing (RFC 9112 section 7.1), and what it has to look like.

    ``UpstreamConnection.data_received`` alone uses it, and field by field: a call would be the dearest part of the way.
    """

    __slots__ = ("cut", "ends", "exchange", "last", "protocol", "second", "third", "transport")

    def __init__(self, protocol: BaseProtocol, transport: asyncio.Transport, exchange: Exchange) -> None:
        #: The client's connection, which says whether there is room.
        self.protocol = protocol
        self.transport = transport
        #: Counts the bytes that were sent.
        self.exchange = exchange
        #: What has to be at the end of a chunk, its framing included, and where that is.
        self.ends = b"\r\n"
        self.cut = -2
        #: The latest chunks that took this way, in their framing, the last one first.
        self.last = self.second = self.third = b""

    def only(self, ends: bytes) -> None:
        """For chunks whose data ends so."""
        self.ends = ends + b"\r\n"
        self.cut = -len(self.ends)

    def latest(self) -> list[bytes]:
        """The data of the latest chunks that took this way, three at most, in their order."""
        return [framed[framed.index(b"\n") + 1 : -2] for framed in (self.third, self.second, self.last) if framed]
