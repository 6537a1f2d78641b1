"""Chunks that come whole, as an event stream's mostly do: one for each event, one in each read.

Where the parser stands between two chunks, such a read needs no parsing, and its bytes can go on as they are. Strict on
purpose: whatever is written in another way than ``size CRLF data CRLF`` is for the parser.
"""

from __future__ import annotations

import re

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,7})\r\n").match
#: Chunks below this size, framing included, are recognised by their first line.
SHORT = 4096
#: And from this size on: of shorter data, what is looked for at its end could be the end of the first line.
SHORTEST = 3


def _short_chunks() -> tuple[tuple[bytes, int, int], ...]:
    table = [(b"none has this length", 0, 0)] * SHORT
    for size in range(SHORTEST, SHORT):
        line = b"%x\r\n" % size
        length = len(line) + size + 2
        if length < SHORT:
            table[length] = line, len(line), size
    return tuple(table)


#: By the length of a whole chunk with its framing: the line that it begins with when its size is written in the usual way,
#: the length of that line, and the size. Two comparisons then tell a whole chunk, where a pattern and a number cost three
#: times as much.
SHORT_CHUNKS = _short_chunks()


def one_chunk(framed: bytes) -> bytes | None:
    """The data of the one whole chunk, not the last one, that ``framed`` is; None when it is anything else."""
    found = _SIZE(framed)
    if found is None:
        return None
    begin = found.end()
    size = int(found[1], 16)
    if not size or len(framed) != begin + size + 2 or not framed.endswith(b"\r\n"):
        return None
    return framed[begin:-2]


def whole_chunks(framed: bytes, at: int = 0) -> bool:
    """True when ``framed`` holds, from ``at`` on, whole chunks and nothing else, none of them the last one."""
    while at < len(framed):
        found = _SIZE(framed, at)
        if found is None:
            return False
        size = int(found[1], 16)
        at = found.end() + size + 2
        if not size or framed[at - 2 : at] != b"\r\n":
            return False
    return at == len(framed)


def head_size(data: bytes) -> int:
    """Bytes of the head that ``data`` begins with; 0 when its lines do not all end in CRLF."""
    size = data.find(b"\r\n\r\n") + 4
    if size > 3 and data.count(b"\n", 0, size) == data.count(b"\r", 0, size) == data.count(b"\r\n", 0, size):
        return size
    return 0
