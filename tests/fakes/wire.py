"""HTTP/1.1 as bytes, for fakes on both sides: reads one message from a stream and keeps what really came."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import orjson

Raw = tuple[bytes, bytes]


@dataclass
class Message:
    """A request or a response as it came over the wire."""

    #: The head, byte for byte, with its empty line.
    head: bytes
    #: Header fields in order, names in the case in which they came.
    headers: list[Raw] = field(default_factory=list)
    #: The body without its framing.
    body: bytes = b""
    #: ``none``, ``length``, ``chunked`` or ``close``.
    framing: str = "none"
    #: False when the stream ended before the message did.
    complete: bool = True

    @property
    def start_line(self) -> bytes:
        """The first line, without its line end."""
        return self.head.split(b"\r\n", 1)[0]

    def values(self, name: str) -> list[bytes]:
        """Every value of a header field."""
        wanted = name.lower().encode()
        return [value for key, value in self.headers if key.lower() == wanted]

    def header(self, name: str) -> bytes | None:
        """The only value of a header field; None when it is not there. Twice is a failure."""
        values = self.values(name)
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def names(self) -> list[bytes]:
        """The names of the header fields, in lower case, in order."""
        return [name.lower() for name, _ in self.headers]

    def json(self) -> object:
        """The body as JSON."""
        return orjson.loads(self.body)


def parse_fields(head: bytes) -> list[Raw]:
    """The header fields of a head."""
    pairs = (line.partition(b":") for line in head.split(b"\r\n")[1:] if line)
    return [(name, value.strip(b" \t")) for name, _, value in pairs]


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """One head with its empty line; what there was of it when the stream ends."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        return error.partial


async def read_body(reader: asyncio.StreamReader, message: Message, *, until_close: bool) -> None:
    """Read the body that the head announces; ``until_close``: without a length it ends with the connection."""
    codings = b",".join(message.values("transfer-encoding")).lower()
    length = message.header("content-length")
    parts: list[bytes] = []
    try:
        if b"chunked" in codings:
            message.framing = "chunked"
            await _read_chunks(reader, parts)
        elif length is not None:
            message.framing = "length"
            parts.append(await reader.readexactly(int(length)))
        elif until_close:
            message.framing = "close"
            parts.append(await reader.read(-1))
    except asyncio.IncompleteReadError as error:
        message.complete = False
        if message.framing == "length":
            parts.append(error.partial)
    except ConnectionError:
        message.complete = False
    message.body = b"".join(parts)


async def _read_chunks(reader: asyncio.StreamReader, parts: list[bytes]) -> None:
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if not size:
            break
        parts.append(await reader.readexactly(size))
        assert await reader.readexactly(2) == b"\r\n"
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass


def chunk(data: bytes) -> bytes:
    """``data`` as one chunk of the chunked coding."""
    return b"%x\r\n%s\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
