"""A worker's line to the others: one socket to the hub of its supervisor, see ``hub.py``.

Nothing here is on the path of a request to an endpoint that is well: only changes are told. What cannot be sent yet waits
in a table that a newer notice about the same thing overwrites. When the hub is gone, the worker goes on by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

import msgspec
import structlog

from pixiu_py.clusters.agreement import Agreement, Duty, Notice, Notices, Started, decode, encode

log = structlog.get_logger("pixiu_py.peers")

#: Bytes of one notice at most; the longest parts, id and address, come from the configuration.
MOST_BYTES = 64 * 1024
#: Notices read in one turn of the loop: a request waits for no more than these.
MOST_AT_ONCE = 200


class Peers:
    """The other workers, as one worker sees them."""

    def __init__(self, line: socket.socket, clock: Callable[[], float]) -> None:
        self.agreement = Agreement(self._publish, clock)
        #: Set while it is this worker that runs the health checks.
        self.on_duty = asyncio.Event()
        self._line = line
        self._waiting = Notices()
        self._lost = False

    def start(self) -> None:
        """Begin to listen."""
        self._line.setblocking(False)
        asyncio.get_running_loop().add_reader(self._line, self._readable)

    def started(self) -> None:
        """Tell the supervisor that this worker serves."""
        self._publish(Started())

    async def close(self) -> None:
        """Hang up."""
        self._hang_up()

    def _publish(self, notice: Notice) -> None:
        if self._lost:
            return
        self._waiting.put(notice)
        self._writable()

    def _writable(self) -> None:
        if send_waiting(self._line, self._waiting):
            asyncio.get_running_loop().remove_writer(self._line)
        else:
            asyncio.get_running_loop().add_writer(self._line, self._writable)

    def _readable(self) -> None:
        notices, open_ = receive(self._line, MOST_AT_ONCE)
        if any(isinstance(notice, Duty) for notice in notices):
            self.on_duty.set()
        self.agreement.hear(notices)
        if not open_:
            log.warning("the supervisor is gone", effect="this worker keeps cooldowns and health verdicts for itself")
            self._hang_up()

    def _hang_up(self) -> None:
        if self._lost:
            return
        self._lost = True
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._line)
        loop.remove_writer(self._line)
        self._line.close()
        self.on_duty.set()


def send_waiting(line: socket.socket, waiting: Notices) -> bool:
    """Send what waits. False when the socket takes no more now.

    A line that has broken takes everything: reading it tells that it has.
    """
    while (notice := waiting.first()) is not None:
        try:
            line.send(encode(notice))
        except BlockingIOError:
            return False
        except (OSError, ValueError) as error:  # also one that is too long, or no text
            log.debug("a notice cannot be sent", error=str(error))
        waiting.drop_first()
    return True


def receive(line: socket.socket, most: int) -> tuple[list[Notice], bool]:
    """The notices that have come, ``most`` at most, and whether the other end is still there."""
    notices: list[Notice] = []
    was_reset = False
    while len(notices) < most:
        try:
            data = line.recv(MOST_BYTES)
        except BlockingIOError:
            return notices, True
        except OSError as error:
            if was_reset or not isinstance(error, ConnectionResetError):
                return notices, False
            was_reset = True  # the other end has closed with something unread; what it sent before can be read still
            continue
        if not data:
            return notices, False
        with contextlib.suppress(msgspec.MsgspecError):
            notices.append(decode(data))
    return notices, True
