"""The supervisor's switchboard: what one worker tells, the others hear; and one of them is on duty.

Each worker has a pair of sockets with it, made before the fork. Messages keep their bounds (SOCK_SEQPACKET), and the end of
a process is the end of its line. A worker that does not read holds up nobody: its notices wait, each overwritten by a newer
one about the same thing.
"""

from __future__ import annotations

import selectors
import socket

from pixiu_py.clusters.agreement import Duty, Notice, Notices, Started
from pixiu_py.peers import MOST_AT_ONCE, receive, send_waiting

_BOTH = selectors.EVENT_READ | selectors.EVENT_WRITE


class _Line:
    """The hub's end of the line to one worker."""

    __slots__ = ("socket", "waiting")

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self.waiting = Notices()


class Hub:
    """Passes notices between workers; its sockets are watched by the supervisor's ``selector``."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        #: By the worker's number, oldest first.
        self._lines: dict[int, _Line] = {}
        #: What a worker that is started later has to know.
        self._known = Notices()
        self._on_duty: int | None = None
        #: Numbers under which a worker has been able to start.
        self.started: set[int] = set()

    def open(self, number: int, now: float) -> socket.socket:
        """A line for worker ``number``, who is about to be forked: its end."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        line = self._lines[number] = _Line(ours)
        self._selector.register(ours, selectors.EVENT_READ, number)
        self._known.forget_outdated(now)
        for notice in self._known:
            line.waiting.put(notice)
        self._assign()
        self._send(number, line)
        return theirs

    def ready(self, number: int, events: int) -> None:
        """The line of worker ``number`` can be read, or written again."""
        line = self._lines.get(number)
        if line is None:
            return
        if events & selectors.EVENT_WRITE:
            self._send(number, line)
        if events & selectors.EVENT_READ:
            notices, open_ = receive(line.socket, MOST_AT_ONCE)
            self._pass_on(number, notices)
            if not open_:
                self.close(number)

    def close(self, number: int) -> None:
        """Worker ``number`` has ended: its last words are passed on, and whoever is left takes over its duty."""
        line = self._lines.pop(number, None)
        if line is None:
            return
        open_ = True
        while open_:
            notices, open_ = receive(line.socket, MOST_AT_ONCE)
            self._pass_on(number, notices)
            open_ = open_ and bool(notices)
        self._selector.unregister(line.socket)
        line.socket.close()
        if self._on_duty == number:
            self._on_duty = None
            self._assign()

    def leave(self) -> None:
        """In a worker, after the fork: the ends of the supervisor are none of its business."""
        for line in self._lines.values():
            line.socket.close()
        self._lines = {}

    def _pass_on(self, sender: int, notices: list[Notice]) -> None:
        for notice in notices:
            if isinstance(notice, Started):
                self.started.add(sender)
                continue
            self._known.put(notice)
            for number, line in self._lines.items():
                if number != sender:
                    line.waiting.put(notice)
        if notices:
            for number, line in self._lines.items():
                self._send(number, line)

    def _assign(self) -> None:
        if self._on_duty is not None:
            return
        for number, line in self._lines.items():
            self._on_duty = number
            line.waiting.put(Duty())
            self._send(number, line)
            return

    def _send(self, number: int, line: _Line) -> None:
        sent = send_waiting(line.socket, line.waiting)
        self._selector.modify(line.socket, selectors.EVENT_READ if sent else _BOTH, number)
