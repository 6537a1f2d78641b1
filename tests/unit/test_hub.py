"""The hub: what one worker tells, the others hear, also late or slow ones; somebody is on duty while anybody lives."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterator

import pytest

from pixiu_py.clusters.agreement import Cooling, Duty, Health, Notice, Started, decode, encode
from pixiu_py.hub import Hub

KEY = ("main", "a", "10.0.0.1:80", "")
COOLING = Cooling(KEY, 100.0, 0.0, 0.0, "reset")


class Switchboard:
    """A hub and the workers' ends of its lines."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.hub = Hub(self.selector)
        self.lines: list[socket.socket] = []

    def line(self, number: int, now: float = 0.0) -> socket.socket:
        line = self.hub.open(number, now)
        line.setblocking(False)
        self.lines.append(line)
        return line

    def turn(self) -> None:
        """Do all that there is to do."""
        while ready := self.selector.select(0):
            for key, events in ready:
                self.hub.ready(key.data, events)

    def close(self) -> None:
        for line in self.lines:
            line.close()
        self.turn()
        self.selector.close()


@pytest.fixture
def board() -> Iterator[Switchboard]:
    board = Switchboard()
    yield board
    board.close()


def heard(line: socket.socket) -> list[Notice]:
    notices = []
    while True:
        try:
            notices.append(decode(line.recv(65536)))
        except BlockingIOError:
            return notices


def test_all_but_the_sender_hear(board: Switchboard) -> None:
    lines = [board.line(number) for number in range(3)]
    assert heard(lines[0]) == [Duty()]
    lines[1].send(encode(COOLING))
    board.turn()
    assert [heard(line) for line in lines] == [[COOLING], [], [COOLING]]


def test_newcomer_hears_what_still_matters(board: Switchboard) -> None:
    first = board.line(0)
    for notice in (COOLING, Health(KEY, False), Cooling(("main", "b", "", ""), 0.0, 0.0, 5.0, "")):
        first.send(encode(notice))
    board.turn()
    assert heard(board.line(1, now=6.0)) == [COOLING, Health(KEY, False)]


def test_duty_passes_on(board: Switchboard) -> None:
    """To the oldest that is left, and to a newcomer when nobody was."""
    first, second = board.line(0), board.line(1)
    assert (heard(first), heard(second)) == ([Duty()], [])
    first.close()
    board.turn()
    assert heard(second) == [Duty()]
    assert heard(board.line(0)) == []
    for line in board.lines:
        line.close()
    board.turn()
    assert heard(board.line(2)) == [Duty()]


def test_last_words_of_a_worker_are_heard(board: Switchboard) -> None:
    """Its end may be noticed before what it said has been read."""
    dying, other = board.line(0), board.line(1)
    dying.send(encode(Started()))
    dying.send(encode(COOLING))
    dying.close()
    board.hub.close(0)
    assert heard(other) == [COOLING, Duty()]
    assert board.hub.started == {0}


def test_slow_worker_holds_up_nobody_and_misses_nothing(board: Switchboard) -> None:
    """What it does not read waits, each notice overwritten by a newer one about the same thing."""
    sender, slow, other = (board.line(number) for number in range(3))
    keys = [("main", str(number), "", "") for number in range(100)]
    for until in range(1, 51):
        for key in keys:
            sender.send(encode(Cooling(key, float(until), 0.0, 0.0, "x" * 100)))
            board.turn()
        assert len(heard(other)) == 100
    assert len(board.hub._lines[1].waiting) == 100, "the socket has not been filled"
    latest: dict[object, float] = {}
    while len(board.hub._lines[1].waiting) or not latest:
        for notice in heard(slow):
            assert isinstance(notice, Cooling)
            latest[notice.key] = notice.until
        board.turn()
    for notice in heard(slow):
        assert isinstance(notice, Cooling)
        latest[notice.key] = notice.until
    assert latest == dict.fromkeys(keys, 50.0)


def test_start_is_for_the_supervisor(board: Switchboard) -> None:
    """It tells a worker that died later from one that could not start; the others need not know."""
    first, second = board.line(0), board.line(1)
    second.send(encode(Started()))
    board.turn()
    assert board.hub.started == {1}
    assert heard(first) == [Duty()]


def test_what_is_no_notice_is_passed_over(board: Switchboard) -> None:
    first, second = board.line(0), board.line(1)
    first.send(b"nonsense")
    first.send(encode(COOLING))
    board.turn()
    assert heard(second) == [COOLING]


def test_worker_gives_up_the_supervisors_ends(board: Switchboard) -> None:
    """Else it would keep its own line open, and never notice the end of the supervisor."""
    line = board.line(0)
    assert heard(line) == [Duty()]
    for ours in board.hub._lines.values():
        board.selector.unregister(ours.socket)
    board.hub.leave()
    assert line.recv(10) == b""
