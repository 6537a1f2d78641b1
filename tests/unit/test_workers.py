"""Rules of the supervisor: so many workers at any time, one port for all, and all of them end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pixiu_py.workers import pause

PATIENCE = 20.0
ROOT = Path(__file__).parents[2]

#: ``serve`` of a worker that tells its number and waits until it is told to end, were that at once.
WAITING = """
def serve(line):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    say(os.getpid())
    signal.sigwait([signal.SIGTERM])
    os._exit(CODE)
"""


class Supervised:
    """A supervisor in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def pids(self, count: int) -> list[int]:
        """The numbers of the workers that have started, each told once."""
        pids: list[int] = []
        while len(pids) < count:
            assert self.process.stdout is not None
            told = self.process.stdout.readline()
            assert told, "the supervisor has ended"
            if told.strip().isdigit():  # else it is from the log
                pids.append(int(told))
        return pids

    def end(self, number: int | None = None) -> int:
        """The exit code, after a signal if one is given."""
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextmanager
def supervised(serve: str, count: int = 2, quick_death: float = 1.0, code: int = 0) -> Iterator[Supervised]:
    script = f"""
import os, signal, time
from pixiu_py import workers
workers._QUICK_DEATH = {quick_death}
CODE = {code}
def say(what):
    os.write(1, f"{{what}}\\n".encode())
{textwrap.dedent(serve)}
raise SystemExit(workers.supervise({count}, serve))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT, text=True, start_new_session=True
    )
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    try:
        yield Supervised(process)
    finally:
        watchdog.cancel()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # the session that this test has started
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_all_workers_end_with_the_supervisor(number: int) -> None:
    """On each signal; it waits for the last of them."""
    with supervised(WAITING, count=3) as running:
        pids = running.pids(3)
        assert len(set(pids)) == 3
        assert all(is_running(pid) for pid in pids)
        assert running.end(number) == 0
        assert not any(is_running(pid) for pid in pids)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_a_terminal_sends_is_the_supervisors(number: int) -> None:
    """It sends it to each process: a worker leaves it alone, and is told by the supervisor."""
    with supervised(WAITING) as running:
        (first, _) = running.pids(2)
        os.kill(first, number)
        assert running.end(signal.SIGTERM) == 0


def test_worker_that_dies_is_replaced() -> None:
    """As often as it happens."""
    with supervised(WAITING, quick_death=0.0) as running:
        pids = running.pids(2)
        for _ in range(3):
            os.kill(pids.pop(), signal.SIGKILL)
            pids += running.pids(1)
        assert running.end(signal.SIGTERM) == 0
        assert not any(is_running(pid) for pid in pids)


def test_worker_that_dies_at_once_is_not_replaced() -> None:
    """It cannot start; the others are stopped too, and the exit code tells."""
    with supervised("def serve(line): return 0", count=3) as running:
        assert running.end() == 1


def test_worker_that_fails_tells_why() -> None:
    """In the log, in one line; its exit code is the supervisor's."""
    with supervised("def serve(line): raise OSError('no port')", count=1) as running:
        assert running.process.stdout is not None
        told = running.process.stdout.read()
        assert running.end() == 1
    assert "no port" in told
    assert "Traceback" not in told


def test_worst_exit_code_is_the_supervisors() -> None:
    """A worker that did not end well must not go unnoticed."""
    with supervised(WAITING, code=3) as running:
        running.pids(2)
        assert running.end(signal.SIGTERM) == 3


def test_worker_that_is_told_to_end_before_it_can_handle_that() -> None:
    """It dies of the signal, as it was meant to: this is no fault."""
    with supervised("def serve(line):\n    say(os.getpid())\n    time.sleep(60)") as running:
        running.pids(2)
        assert running.end(signal.SIGTERM) == 0


def test_signal_while_workers_are_being_started() -> None:
    """None of them is forgotten, and none is started any more."""
    serve = """
    def serve(line):
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(60)
    """
    for _ in range(5):
        with supervised(serve, count=12) as running:
            assert running.end() == 0


def test_pauses_grow_and_end() -> None:
    """A worker that dies is replaced at once; one that cannot live, after longer and longer pauses."""
    assert [pause(deaths) for deaths in range(10)] == [0, 0, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert pause(10**6) == 30


def test_worker_that_comes_to_be_unable_to_start_leaves_the_others_alone() -> None:
    """Its place is filled again and again, with pauses, until it can."""
    serve = """
    workers._QUICK_DEATH = 0.3
    workers._FIRST_PAUSE = 0.01
    born = time.monotonic()
    def serve(line):
        if os.path.exists(BROKEN):
            say(os.getpid())
            return 7
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        time.sleep(0.35)
        say(os.getpid())
        while True:
            signal.pause()
    """
    with tempfile.TemporaryDirectory() as folder:
        broken = Path(folder, "broken")
        with supervised(f"BROKEN = {str(broken)!r}\n" + textwrap.dedent(serve)) as running:
            (first, second) = running.pids(2)
            broken.touch()
            os.kill(first, signal.SIGKILL)
            running.pids(4)
            assert is_running(second)
            broken.unlink()
            while not is_running(running.pids(1)[0]):
                pass
            assert is_running(second)
            assert running.end(signal.SIGTERM) == 0


def test_workers_hear_of_each_other() -> None:
    """Each has a line to the others; a worker that ends closes it, and one that is started later is told all the same."""
    serve = """
    from pixiu_py.clusters.agreement import Cooling, Started, decode, encode
    def serve(line):
        line.settimeout(10)
        if os.path.exists(TOLD):
            signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
            heard = [decode(line.recv(65536))]
            while not isinstance(heard[-1], Cooling):
                heard.append(decode(line.recv(65536)))
            say(int(heard[-1].until))
            while True:
                signal.pause()
        open(TOLD, "w").close()
        line.send(encode(Started()))
        line.send(encode(Cooling(("c", "e", "a", ""), 4711.0, 0.0, 0.0, "")))
        return 0
    """
    with tempfile.TemporaryDirectory() as folder:
        text = f"TOLD = {str(Path(folder, 'told'))!r}\n" + textwrap.dedent(serve)
        with supervised(text, count=1) as running:
            assert running.pids(1) == [4711]
            assert running.end(signal.SIGTERM) == 0
