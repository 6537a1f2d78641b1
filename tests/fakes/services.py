"""Real servers for tests: Redis and PostgreSQL as processes on loopback, with an empty database each.

Where the program is not installed the test is skipped and says so; ``scripts/services.sh`` installs both.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

#: The user that PostgreSQL, which refuses to be root, runs as; made by Debian's package.
_POSTGRES_USER = "postgres"


class Service:
    """One server process, which can be killed and started again on the same port with the same data."""

    def __init__(self, command: list[str], ready: bytes, port: int, url: str) -> None:
        self._command = command
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port
        self.url = url

    def start(self) -> None:
        """Start it and wait until it says that it takes connections."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert self._process.stdout is not None
        printed = b""
        for line in self._process.stdout:
            printed += line
            if self._ready in line:
                return
        raise AssertionError(f"{self._command[0]} did not start:\n{printed.decode()}")

    def stop(self, sign: signal.Signals = signal.SIGINT) -> None:
        """End it; it may be started again. For PostgreSQL SIGINT is a fast shutdown, SIGQUIT an immediate one."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(sign)
        assert process.stdout is not None
        process.stdout.read()
        process.stdout.close()
        process.wait(20)

    def signal(self, sign: signal.Signals) -> None:
        """Send it a signal that does not end it: SIGSTOP makes it hang, SIGCONT go on."""
        assert self._process is not None
        self._process.send_signal(sign)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


@contextmanager
def redis_server(**more: str) -> Iterator[Service]:
    """A Redis without persistence: what is killed has forgotten everything. ``more`` are options of its own."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    with TemporaryDirectory(prefix="pixiu-redis-") as folder:
        port = free_port()
        options = {"bind": "127.0.0.1", "port": str(port), "dir": folder, "appendonly": "no", **more}
        command = [program, *(word for key, value in options.items() for word in (f"--{key}", value)), "--save", ""]
        with _running(Service(command, b"Ready to accept connections", port, f"redis://127.0.0.1:{port}/0")) as service:
            yield service


@contextmanager
def postgres_server() -> Iterator[Service]:
    """A PostgreSQL whose data is kept when it is stopped and started again. Making one takes about two seconds."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    if not programs:
        pytest.skip("postgresql is not installed")
    with TemporaryDirectory(prefix="pixiu-postgres-") as folder:
        as_user: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(folder, _POSTGRES_USER)
            as_user = ["setpriv", f"--reuid={_POSTGRES_USER}", f"--regid={_POSTGRES_USER}", "--clear-groups"]
        initdb = [str(programs[-1] / "initdb"), "-D", folder, "-U", "pixiu", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run([*as_user, *initdb], check=True, capture_output=True, cwd="/")
        port = free_port()
        settings = {"listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": "", "fsync": "off"}
        command = [*as_user, str(programs[-1] / "postgres"), "-D", folder]
        command += [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        url = f"postgresql://pixiu@127.0.0.1:{port}/postgres"
        with _running(Service(command, b"ready to accept connections", port, url)) as service:
            yield service


@contextmanager
def _running(service: Service) -> Iterator[Service]:
    service.start()
    try:
        yield service
    finally:
        service.stop()
