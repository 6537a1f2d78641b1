"""A name server on loopback: answers A and AAAA questions from a table, over UDP (RFC 1035 §4)."""

from __future__ import annotations

import asyncio
import ipaddress
import struct

A, CNAME, AAAA = 1, 5, 28
SERVFAIL, NXDOMAIN = 2, 3


class FakeDns(asyncio.DatagramProtocol):
    """``records[name]`` is a list of (address or alias, TTL); a name that is not there does not exist.

    ``failure`` is a response code for every question, ``silent`` lets them go unanswered.
    """

    def __init__(self) -> None:
        self.records: dict[str, list[tuple[str, int]]] = {}
        self.asked: list[tuple[str, int]] = []
        self.failure = 0
        self.silent = False
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> str:
        """Listen; returns ``ip:port``."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        return f"127.0.0.1:{self._transport.get_extra_info('sockname')[1]}"

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        name, question, kind = _question(data)
        self.asked.append((name, kind))
        if self.silent or self._transport is None:
            return
        answers = self._answers(name, kind) if not self.failure else []
        code = self.failure or (NXDOMAIN if name not in self.records else 0)
        head = data[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(answers), 0, 0)
        self._transport.sendto(head + question + b"".join(answers), addr)

    def _answers(self, name: str, kind: int) -> list[bytes]:
        answers = []
        for value, ttl in self.records.get(name, []):
            data_kind, data = _data(value)
            if data_kind in (kind, CNAME):
                answers.append(_encoded(name) + struct.pack("!HHIH", data_kind, 1, ttl, len(data)) + data)
            if data_kind == CNAME:
                answers.extend(self._answers(value, kind))
        return answers


def _question(data: bytes) -> tuple[str, bytes, int]:
    labels = []
    position = 12
    while data[position]:
        end = position + 1 + data[position]
        labels.append(data[position + 1 : end].decode())
        position = end
    kind = struct.unpack("!H", data[position + 1 : position + 3])[0]
    return ".".join(labels), data[12 : position + 5], kind


def _data(value: str) -> tuple[int, bytes]:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return CNAME, _encoded(value)
    return (A if address.version == 4 else AAAA), address.packed


def _encoded(name: str) -> bytes:
    return b"".join(bytes((len(label),)) + label.encode() for label in name.split(".")) + b"\0"
