"""Asks one engine for the KV events that were missed: its replay socket sends what it still has from a number on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pixiu_py.errors import PixiuError
from pixiu_py.filters.ai.kvcache.events import BadMessage, Batch, batch_of

if TYPE_CHECKING:
    import zmq.asyncio

#: Bytes of all messages of one replay.
MAX_REPLAY = 256 * 2**20
#: The number after the last message.
_END = (2**64 - 1).to_bytes(8, "big")


class ReplayFailed(PixiuError):
    """The engine did not answer, or not with messages of its own."""


class Replay:
    """One question to the replay socket at ``address``."""

    def __init__(self, context: zmq.asyncio.Context, address: str, timeout: float) -> None:
        self._context = context
        self._address = address
        self._timeout = timeout

    async def fetch(self, start: int, most: int) -> list[tuple[int, Batch]]:
        """Messages from number ``start`` on, in order, ``most`` at most. Raises ``ReplayFailed``."""
        import zmq

        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, most)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_REPLAY)
        try:
            async with asyncio.timeout(self._timeout):
                socket.connect(self._address)
                await socket.send_multipart([b"", start.to_bytes(8, "big")])
                return await self._collect(socket, most)
        except TimeoutError:
            raise ReplayFailed(f"no end within {self._timeout:g} s") from None
        except (zmq.ZMQError, BadMessage) as error:
            raise ReplayFailed(str(error)) from error
        finally:
            socket.close()

    async def _collect(self, socket: zmq.asyncio.Socket, most: int) -> list[tuple[int, Batch]]:
        found: list[tuple[int, Batch]] = []
        size = 0
        while len(found) < most:
            # An empty frame, the topic, which older engines leave out, the number, the payload.
            *_, number, payload = _two(await socket.recv_multipart())
            if number == _END:
                break
            size += len(payload)
            if size > MAX_REPLAY:
                raise BadMessage(f"more than {MAX_REPLAY} bytes")
            found.append((int.from_bytes(number, "big"), batch_of(payload)))
        return found


def _two(frames: list[bytes]) -> list[bytes]:
    if len(frames) < 3 or len(frames[-2]) != 8:
        raise BadMessage("not a number and a payload")
    return frames


def shifted(address: str, rank: int) -> str:
    """The address of one rank of a data-parallel engine: vLLM adds its number to the port."""
    base, colon, port = address.rpartition(":")
    return f"{base}{colon}{int(port) + rank}" if rank and port.isdigit() else address
