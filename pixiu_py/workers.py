"""Worker processes on one port: fork, watch, replace; and let them hear of each other."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections.abc import Callable

import structlog

from pixiu_py.hub import Hub
from pixiu_py.signals import stop_signals

log = structlog.get_logger("pixiu_py.workers")

#: Seconds. When workers live shorter than this one after the other, replacing them at once would only repeat that.
_QUICK_DEATH = 1.0
#: Seconds before the third and later such worker in a row is started: doubled each time, up to the second.
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_WAKES = "a signal has come"

#: What a worker runs: it is given its line to the others, and its exit code is what is returned.
Serve = Callable[[socket.socket | None], int]


def pause(quick_deaths: int) -> float:
    """Seconds to wait before a worker is replaced, after so many in a row that lived for a moment only."""
    if quick_deaths < 2:
        return 0.0
    return float(min(_FIRST_PAUSE * 2.0 ** min(quick_deaths - 2, 10), _LONGEST_PAUSE))


class _Worker:
    """One of the workers, and those that stood in its place before."""

    __slots__ = ("born", "due", "number", "pid", "proven", "quick_deaths")

    def __init__(self, number: int) -> None:
        self.number = number
        #: 0: not running.
        self.pid = 0
        self.born = 0.0
        #: When to start it next, if it is not running.
        self.due = 0.0
        #: True once a worker in this place has started: what it was told to run can be run.
        self.proven = False
        #: In a row.
        self.quick_deaths = 0


class Supervisor:
    """Keeps ``count`` workers running. Each is a fork that calls ``serve`` and exits with what it returns.

    One that dies is replaced at once. When the first in a place dies before it has started, it cannot start, and everything
    ends. When one after the other dies quickly, they are replaced after longer and longer pauses, and the others go on.
    """

    def __init__(self, count: int, serve: Serve) -> None:
        self._serve = serve
        self._workers = [_Worker(number) for number in range(count)]
        self._signals = stop_signals()
        self._stopping = False
        self._worst = 0
        self._selector = selectors.DefaultSelector()
        self._hub = Hub(self._selector)
        self._wake, self._waker = socket.socketpair()

    def run(self) -> int:
        """Run until one of ``stop_signals``, then until the last worker has ended. Returns the worst exit code."""
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._wake, selectors.EVENT_READ, _WAKES)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _noted)
        for number in self._signals:
            signal.signal(number, self._stop)
        self._start_due()
        while self._waits_for_any():
            self._wait()
            self._reap()
            self._start_due()
        signal.set_wakeup_fd(-1)
        return self._worst

    def _waits_for_any(self) -> bool:
        return any(worker.pid for worker in self._workers) or not self._stopping

    def _wait(self) -> None:
        """Sleep until a signal or a notice has come, or a worker is due."""
        due = [worker.due for worker in self._workers if not worker.pid]
        timeout = max(0.0, min(due) - time.monotonic()) if due and not self._stopping else None
        for key, events in self._selector.select(timeout):
            if key.data is _WAKES:
                self._drain_wakes()
            else:
                self._hub.ready(key.data, events)

    def _drain_wakes(self) -> None:
        try:
            while self._wake.recv(4096):
                pass
        except BlockingIOError:
            return

    # --- ends ------------------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        for worker in self._workers:
            if not worker.pid:
                continue
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                worker.pid = 0
                self._hub.close(worker.number)
                self._ended(worker, pid, os.waitstatus_to_exitcode(status), time.monotonic())

    def _ended(self, worker: _Worker, pid: int, code: int, now: float) -> None:
        if self._stopping:
            # Dead of the signal itself: it had not got as far as handling it.
            self._worst = max(self._worst, 0 if code == -signal.SIGTERM else abs(code))
            return
        log.error("worker ended", pid=pid, exit_code=code)
        quick = now - worker.born < _QUICK_DEATH
        worker.quick_deaths = worker.quick_deaths + 1 if quick else 0
        worker.proven = worker.proven or not quick or worker.number in self._hub.started
        if not worker.proven:
            self._worst = max(self._worst, abs(code), 1)
            self._stop(signal.SIGTERM)
            return
        worker.due = now + pause(worker.quick_deaths)

    def _stop(self, number: int, _frame: object = None) -> None:
        if self._stopping and number == signal.SIGHUP:
            return  # a shell and its terminal both send it, and workers take a second signal for a wish to be quick
        self._stopping = True
        for worker in self._workers:
            if worker.pid:
                os.kill(worker.pid, signal.SIGTERM)

    # --- starts ----------------------------------------------------------------------------------------------------

    def _start_due(self) -> None:
        for worker in self._workers:
            if not self._stopping and not worker.pid and worker.due <= time.monotonic():
                self._fork(worker)

    def _fork(self, worker: _Worker) -> None:
        line = self._line(worker)
        # Held back meanwhile, so that no signal finds a worker that is not listed yet, or our handler inside the worker.
        signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        pid = None
        if not self._stopping:
            worker.born = time.monotonic()
            pid = os.fork()
            worker.pid = pid
            if not pid:
                self._become_worker()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._signals)
        if pid == 0:
            self._work(line)
        if line is not None:
            line.close()

    def _line(self, worker: _Worker) -> socket.socket | None:
        """The worker's end of its line to the others; None where there can be none."""
        try:
            return self._hub.open(worker.number, time.monotonic())
        except OSError as error:
            log.warning("workers cannot hear of each other", error=str(error))
            return None

    def _become_worker(self) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in self._signals:
            signal.signal(number, signal.SIG_IGN)  # it is the supervisor's to pass on
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._hub.leave()  # else nobody would notice the end of the supervisor
        self._selector.close()
        self._wake.close()
        self._waker.close()

    def _work(self, line: socket.socket | None) -> None:
        code = 1
        try:
            code = self._serve(line)
        except Exception as error:  # noqa: BLE001 - the last edge of a process: it is logged, and the exit code tells
            log.error("worker failed", error=str(error))
        finally:
            os._exit(code)


def _noted(_number: int, _frame: object) -> None:
    """A child has ended: the wake-up descriptor tells, this only makes Python write to it."""


def supervise(count: int, serve: Serve) -> int:
    """Run ``count`` workers until told to stop."""
    return Supervisor(count, serve).run()
