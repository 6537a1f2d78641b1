"""Worker processes on one port: fork, watch, replace."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger("pixiu_py.workers")

#: A worker that lives shorter than this has failed to start; replacing it at once would only repeat that.
_QUICK_DEATH = 1.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Supervisor:
    """Keeps ``count`` workers running. Each is a fork that calls ``serve`` and exits with what it returns."""

    def __init__(self, count: int, serve: Callable[[], int]) -> None:
        self._count = count
        self._serve = serve
        self._started: dict[int, float] = {}
        self._stopping = False

    def run(self) -> int:
        """Run until SIGTERM or SIGINT, then until the last worker has ended. Returns the worst exit code."""
        for number in _SIGNALS:
            signal.signal(number, self._stop)
        for _ in range(self._count):
            self._fork()
        worst = 0
        while self._started:
            pid, status = os.wait()
            born = self._started.pop(pid, None)
            if born is None:
                continue
            code = os.waitstatus_to_exitcode(status)
            if self._stopping:
                # Dead of the signal itself: it had not got as far as handling it.
                worst = max(worst, 0 if code == -signal.SIGTERM else abs(code))
                continue
            log.error("worker ended", pid=pid, exit_code=code)
            if time.monotonic() - born < _QUICK_DEATH:
                self._stop(signal.SIGTERM)
                worst = max(worst, abs(code), 1)
                continue
            self._fork()
        return worst

    def _fork(self) -> None:
        if self._stopping:
            return
        # Held back meanwhile, so that no signal finds a worker that is not listed yet, or our handler inside the worker.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid:
            self._started[pid] = time.monotonic()
        else:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is the supervisor's to pass on
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        if not pid:
            self._work()

    def _work(self) -> None:
        code = 1
        try:
            code = self._serve()
        except Exception as error:  # noqa: BLE001 - the last edge of a process: it is logged, and the exit code tells
            log.error("worker failed", error=str(error))
        finally:
            os._exit(code)

    def _stop(self, number: int, _frame: object = None) -> None:
        self._stopping = True
        for pid in self._started:
            os.kill(pid, signal.SIGTERM)


def supervise(count: int, serve: Callable[[], int]) -> int:
    """Run ``count`` workers, 0 for one per core, until told to stop."""
    return Supervisor(count or os.cpu_count() or 1, serve).run()
