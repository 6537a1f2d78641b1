"""Real engines as processes: llama-server, vLLM, LMCache's controller and coordinator, on the loopback.

``PIXIU_ENGINES`` names the folder that ``scripts/engines/install.py`` has filled. Each server writes its output into a
file; a test that fails shows where. One vLLM takes about 2 GB and half a minute to start.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.fakes.services import free_port

#: Name under which the model is served.
MODEL = "tiny"
#: Seconds; the second vLLM on a small machine needs one of them.
PATIENCE = 240.0


def folder() -> Path:
    """Where the engines are installed."""
    return Path(os.environ["PIXIU_ENGINES"]).expanduser()


class Engine:
    """One server process, with whatever processes it starts itself."""

    def __init__(
        self, name: str, command: list[str], port: int, ready: str, logs: Path, environ: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.port = port
        self._command = command
        self._ready = ready
        self._environ = dict(environ or {})
        self.log = logs / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """True while its first process lives."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> Engine:
        """Start it, and do not wait."""
        assert not self.running, f"{self.name} is running already"
        if not Path(self._command[0]).exists():
            pytest.skip(f"{self._command[0]} is not installed: scripts/engines/install.py")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._environ},
                cwd=self.log.parent,
                start_new_session=True,  # a group of its own: its workers end with it
            )
        return self

    def wait(self) -> Engine:
        """Wait until it answers. Fails when it ends, or takes too long."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if not self.running:
                break
            try:
                self.get(self._ready)
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.2)  # another program's start has no event of ours
            else:
                return self
        raise AssertionError(f"{self.name} did not start, see {self.log}:\n{self.log.read_text()[-3000:]}")

    def start(self) -> Engine:
        """Start it and wait."""
        return self.launch().wait()

    def stop(self) -> None:
        """End it and all that it has started."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def _end(self, sign: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for each in (sign, signal.SIGKILL):
            try:
                os.killpg(process.pid, each)
            except ProcessLookupError:
                break
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                continue
        process.wait(20)

    def get(self, path: str) -> bytes:
        """GET."""
        with urllib.request.urlopen(self.url + path, timeout=5) as response:
            body: bytes = response.read()
        return body

    def post(self, path: str, document: Any) -> Any:
        """POST JSON; the answer's JSON."""
        request = urllib.request.Request(
            self.url + path, orjson.dumps(document), {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return orjson.loads(response.read())

    def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        lines = self.get("/metrics").decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.partition("{")[0].partition(" ")[0] == name)


def llama_server(logs: Path, *options: str, name: str = "llama-server") -> Engine:
    """A llama-server with four slots. It is ready in less than a second."""
    root, port = folder(), free_port()
    command = [str(root / "llama-server"), "--model", str(root / "model.gguf"), "--alias", MODEL]
    command += ["--host", "127.0.0.1", "--port", str(port), "--ctx-size", "8192", "--parallel", "4", "--threads", "1"]
    command += ["--metrics", "--jinja", "--offline", *options]
    return Engine(name, command, port, "/health", logs)


def vllm(logs: Path, name: str, *options: str, environ: Mapping[str, str] | None = None) -> Engine:
    """A vLLM with blocks of 32 tokens."""
    root, port = folder(), free_port()
    command = [str(root / "vllm" / "bin" / "python"), "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--model", str(root / "model")]
    command += ["--served-model-name", MODEL, "--dtype", "bfloat16", "--max-model-len", "4096", "--enforce-eager"]
    command += ["--max-num-seqs", "8", "--block-size", "32", "--enable-prefix-caching", *options]
    settings = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",  # LMCache's hashes: the same in the controller
        **(environ or {}),
    }
    return Engine(name, command, port, "/health", logs, settings)


class KvEvents:
    """Where an engine publishes its KV events, and where it repeats them."""

    def __init__(self, port: int) -> None:
        #: The gateway binds it.
        self.address = f"tcp://127.0.0.1:{port}"
        #: Instance → address for replays.
        self.replay: dict[str, str] = {}

    def options(self, instance: str) -> list[str]:
        """Options of a vLLM that publishes as ``instance``."""
        self.replay[instance] = f"tcp://127.0.0.1:{free_port()}"
        config = {
            "enable_kv_cache_events": True,
            "publisher": "zmq",
            "endpoint": self.address,
            "replay_endpoint": self.replay[instance],
            "topic": f"kv@{instance}@{MODEL}",
        }
        return ["--kv-events-config", orjson.dumps(config).decode()]


def coordinator(logs: Path) -> Engine:
    """LMCache's coordinator."""
    port = free_port()
    command = [str(folder() / "vllm" / "bin" / "lmcache"), "coordinator", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--chunk-size", "256", "--hash-algorithm", "blake3", "--disable-metrics"]
    return Engine("coordinator", command, port, "/healthz", logs, _QUIET)


def cache_server(logs: Path, instance: str, at: Engine) -> tuple[Engine, list[str]]:
    """A cache server that tells this coordinator, and the options of a vLLM that uses it. It is ready once it is listed."""
    queue, port = free_port(), free_port()
    command = [str(folder() / "vllm" / "bin" / "lmcache"), "server", "--instance-id", instance, "--host", "127.0.0.1"]
    command += ["--port", str(queue), "--http-host", "127.0.0.1", "--http-port", str(port), "--chunk-size", "256"]
    command += ["--hash-algorithm", "blake3", "--l1-size-gb", "0.5", "--eviction-policy", "LRU"]
    command += ["--supported-transfer-mode", "engine_driven"]  # the only one for tensors on a CPU
    command += ["--shm-name", f"pixiu-{port}", "--disable-metrics", "--disable-grpc-metrics"]
    command += ["--coordinator-url", at.url, "--coordinator-advertise-ip", "127.0.0.1", "--coordinator-event-reporting"]
    where = {"lmcache.mp.host": "tcp://127.0.0.1", "lmcache.mp.port": queue}
    connector = {"kv_connector": "LMCacheMPConnector", "kv_role": "kv_both", "kv_connector_extra_config": where}
    options = ["--kv-transfer-config", orjson.dumps(connector).decode()]
    return Engine(instance, command, port, "/", logs, _QUIET), options


_QUIET = {"PYTHONHASHSEED": "0", "LMCACHE_TRACK_USAGE": "false", "LMCACHE_DISABLE_BANNER": "1"}


class Controller(Engine):
    """LMCache's controller, and what an engine needs to know of it."""

    def __init__(self, logs: Path) -> None:
        self.pull, self.reply, beat, port = free_port(), free_port(), free_port(), free_port()
        ports = orjson.dumps({"pull": self.pull, "reply": self.reply, "heartbeat": beat}).decode()
        program = folder() / "vllm" / "bin" / "lmcache_controller"
        command = [str(program), "--host", "127.0.0.1", "--port", str(port), "--monitor-ports", ports]
        environ = {"PYTHONHASHSEED": "0", "LMCACHE_TRACK_USAGE": "false"}
        super().__init__("controller", command, port, "/controller/workers", logs, environ)

    def engine(self, logs: Path, instance: str, *options: str) -> Engine:
        """A vLLM that caches with LMCache and tells this controller."""
        settings = {
            "chunk_size": 256,
            "local_cpu": True,
            "max_local_cpu_size": 0.3,
            "enable_controller": True,
            "lmcache_instance_id": instance,
            "controller_pull_url": f"127.0.0.1:{self.pull}",
            "controller_reply_url": f"127.0.0.1:{self.reply}",
            "lmcache_worker_ports": [free_port()],
            "lmcache_worker_heartbeat_time": 5,
        }
        path = logs / f"{instance}.json"  # YAML, too
        path.write_bytes(orjson.dumps(settings))
        connector = '{"kv_connector":"LMCacheConnectorV1","kv_role":"kv_both"}'
        environ = {"LMCACHE_CONFIG_FILE": str(path), "LMCACHE_TRACK_USAGE": "false"}
        return vllm(logs, instance, "--kv-transfer-config", connector, *options, environ=environ)
