"""Child processes of the benchmarks: started on chosen cores, waited for, and always ended, by their own ids."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path


class BenchError(Exception):
    """A measurement that cannot be made, or whose result could not be trusted."""


@contextlib.contextmanager
def pinned(cores: set[int]) -> Iterator[None]:
    """What is started inside inherits ``cores``; this process itself is put back afterwards."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """One started program; its output goes to ``log``. Use as a context manager, so that it ends."""

    def __init__(
        self, command: Sequence[str], log: Path, cores: set[int], environment: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        self.started = time.monotonic()
        with pinned(cores), log.open("ab") as output:
            self._popen = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self.pid = self._popen.pid

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_until(self, ready: Callable[[], bool], seconds: float = 30.0, pause: float = 0.02) -> None:
        """Return once ``ready()``. Raises ``BenchError`` with the end of the log if the process ends or time is up."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self._popen.poll() is not None:
                raise BenchError(f"ended with status {self._popen.returncode}; {self._tail()}")
            if time.monotonic() > deadline:
                raise BenchError(f"not ready after {seconds:.0f} s; {self._tail()}")
            time.sleep(pause)

    def stop(self, grace: float = 5.0) -> None:
        """SIGTERM; then SIGKILL for what is left of its session once it has ended or ``grace`` seconds are over."""
        self._popen.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(grace)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()

    def _tail(self, lines: int = 15) -> str:
        text = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "its output ends with:\n" + "\n".join(text)


def answers(port: int, request: bytes, timeout: float = 2.0) -> bool:
    """True when a server on the loopback ``port`` answers ``request`` with a 200."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout) as connection:
            connection.sendall(request)
            return connection.recv(65_536).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
