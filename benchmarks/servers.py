"""The proxies under test and the mock upstream: how each is found, built, started, and asked for its version."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Protocol

import pixiu_py
from benchmarks import conf
from benchmarks.client import Target, chat_request, http_request
from benchmarks.conf import Spec
from benchmarks.proc import BenchError, Process, answers, free_port

_GO_SOURCE = Path(__file__).with_name("go")


def cache_folder() -> Path:
    """Where builds and virtual environments are kept between runs: outside the source tree."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "pixiu-py-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass(frozen=True)
class Server:
    """A running proxy. For ``direct``, the upstream itself."""

    name: str
    target: Target
    process: Process
    #: A request that it answers with 200 once it can be used.
    ready: bytes

    @property
    def port(self) -> int:
        """The loopback port that it listens on."""
        return self.target.port

    def answers(self) -> bool:
        """True when it can be used."""
        return answers(self.target.port, self.ready)

    @property
    def pid(self) -> int:
        """Root of its process tree."""
        return self.process.pid


@dataclass(frozen=True)
class Launch:
    """How to start a proxy."""

    command: Sequence[str]
    environment: dict[str, str]
    #: Headers that its clients have to send.
    headers: tuple[str, ...] = ()


class Contender(Protocol):
    """A proxy that can be measured."""

    @property
    def name(self) -> str:
        """How it is called in tables."""

    def missing(self) -> str:
        """Why it cannot be measured here; empty when it can."""

    def version(self) -> str:
        """Name and version of the software."""

    def launch(self, spec: Spec, port: int, folder: Path) -> Launch:
        """Write its configuration into ``folder`` and say how to start it."""


class Gateway:
    """pixiu-py itself."""

    name = "gateway"

    def missing(self) -> str:
        return "" if importlib.util.find_spec("pixiu_py.cli") else "pixiu_py has no command line yet"

    def version(self) -> str:
        libraries = ", ".join(f"{name} {metadata.version(name)}" for name in ("aiohttp", "uvloop"))
        return f"pixiu-py {pixiu_py.__version__}, Python {platform.python_version()}, {libraries}"

    def launch(self, spec: Spec, port: int, folder: Path) -> Launch:
        path = conf.write_gateway(spec, port, folder)
        command = [sys.executable, "-m", "pixiu_py", "gateway", "start", "-c", str(path), "-m", str(spec.workers)]
        # An installed gateway has its bytecode at hand, whatever this shell is set to.
        return Launch([*command, "-l", "warning"], {"PYTHONDONTWRITEBYTECODE": ""})


class Nginx:
    """nginx, the lower bound of what a proxy costs."""

    name = "nginx"

    def missing(self) -> str:
        return "" if self._program() else "nginx is not installed (Debian: apt-get install nginx)"

    def version(self) -> str:
        output = subprocess.run([self._program(), "-v"], capture_output=True, text=True, check=True).stderr
        return output.strip().removeprefix("nginx version: ")

    def launch(self, spec: Spec, port: int, folder: Path) -> Launch:
        path = conf.write_nginx(spec, port, folder)
        return Launch([self._program(), "-p", str(folder), "-c", str(path), "-e", str(folder / "error.log")], {})

    def _program(self) -> str:
        return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin") or ""


class GoProxy:
    """``httputil.ReverseProxy``, what Pixiu stands on; built offline from ``go/main.go``."""

    name = "go"

    def missing(self) -> str:
        return "" if shutil.which("go") else "go is not installed (Debian: apt-get install golang-go)"

    def version(self) -> str:
        output = subprocess.run(["go", "version"], capture_output=True, text=True, check=True).stdout
        return f"{output.split()[2]} httputil.ReverseProxy"

    def launch(self, spec: Spec, port: int, folder: Path) -> Launch:
        upstreams = ",".join(f"{address}:{spec.upstream_port}" for address in spec.addresses)
        command = [str(self._build()), "-listen", f"127.0.0.1:{port}", "-upstreams", upstreams]
        return Launch(command, {"GOMAXPROCS": str(spec.workers)})

    def _build(self) -> Path:
        source = (_GO_SOURCE / "main.go").read_bytes() + self.version().encode()
        program = cache_folder() / f"reverseproxy-{hashlib.sha256(source).hexdigest()[:12]}"
        if not program.exists():
            environment = {**os.environ, "GOPROXY": "off", "GOCACHE": str(cache_folder() / "go-build"), "GOFLAGS": ""}
            command = ["go", "build", "-o", str(program), "."]
            built = subprocess.run(
                command, cwd=_GO_SOURCE, env=environment, capture_output=True, text=True, check=False
            )
            if built.returncode:
                raise BenchError(f"go build failed: {built.stderr}")
        return program


#: In the order of the tables.
CONTENDERS: tuple[Contender, ...] = (Gateway(), GoProxy(), Nginx())


@contextlib.contextmanager
def running(contender: Contender, spec: Spec, folder: Path, cores: set[int], wait: bool = True) -> Iterator[Server]:
    """The proxy, started on ``cores``; ready to answer unless ``wait`` is False."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    launch = contender.launch(spec, port, folder)
    with Process(launch.command, folder / "output.log", cores, launch.environment) as process:
        target = Target(port, launch.headers)
        ready = chat_request(target) if spec.kind == "llm" else http_request(target, "GET", "/")
        server = Server(contender.name, target, process, ready)
        if wait:
            process.wait_until(server.answers, seconds=60)
        yield server


@contextlib.contextmanager
def running_upstream(folder: Path, cores: set[int], **options: float) -> Iterator[Server]:
    """The mock engine; ``options`` are those of ``benchmarks.upstream``, with ``_`` for ``-``."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.upstream", "--port", str(port)]
    for name, value in options.items():
        command += ["--" + name.replace("_", "-"), str(value)]
    with Process(command, folder / "output.log", cores) as process:
        server = Server("direct", Target(port), process, chat_request(Target(port)))
        process.wait_until(server.answers)
        yield server
