"""Load of large bodies, up and down, over one blocking connection."""

from __future__ import annotations

import json
import socket

from benchmarks.client import Target, http_request
from benchmarks.proc import BenchError

_BLOCK = memoryview(bytes(262_144))
_TIMEOUT = 120.0


def upload(target: Target, size: int) -> None:
    """POST ``size`` bytes. Raises ``BenchError`` unless the upstream confirms that it received them all."""
    with socket.create_connection(("127.0.0.1", target.port), _TIMEOUT) as connection:
        connection.sendall(http_request(target, "POST", "/upload", length=size))
        for done in range(0, size, len(_BLOCK)):
            connection.sendall(_BLOCK[: size - done])
        reply = _reply(connection)
    if json.loads(reply.rpartition(b"\r\n\r\n")[2]) != {"bytes": size}:
        raise BenchError(f"upload of {size} bytes answered {reply[:200]!r}")


def _reply(connection: socket.socket) -> bytes:
    reply = b""
    while not reply.endswith(b"}"):
        piece = connection.recv(65_536)
        if not piece:
            raise BenchError(f"the connection was closed after {reply[:200]!r}")
        reply += piece
    return reply


def download(target: Target, size: int) -> None:
    """GET ``size`` bytes. Raises ``BenchError`` when they do not all arrive."""
    buffer = bytearray(len(_BLOCK))
    with socket.create_connection(("127.0.0.1", target.port), _TIMEOUT) as connection:
        connection.sendall(http_request(target, "GET", "/download"))
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65_536)
        if b"\r\ncontent-length: %d\r\n" % size not in head.partition(b"\r\n\r\n")[0].lower() + b"\r\n":
            raise BenchError(f"download answered {head[:200]!r}")
        got = len(head.partition(b"\r\n\r\n")[2])
        while got < size:
            count = connection.recv_into(buffer)
            if not count:
                raise BenchError(f"{got} of {size} bytes arrived")
            got += count
