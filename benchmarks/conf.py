"""Configurations of the proxies under test, made from one ``Spec`` so that each is asked for the same."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from benchmarks.upstream import loopback


@dataclass(frozen=True)
class Spec:
    """What a proxy has to do: where to, over how many endpoints and routes, with how many workers."""

    upstream_port: int
    kind: Literal["llm", "http"] = "llm"
    endpoints: int = 2
    routes: int = 1
    workers: int = 1
    #: Filters of the gateway before its proxy, as they stand in its file.
    filters: tuple[dict[str, Any], ...] = ()
    #: Models that the gateway's endpoints serve; none: all.
    models: tuple[str, ...] = ()

    @property
    def addresses(self) -> list[str]:
        """Each endpoint is a loopback address of its own on the upstream's one port."""
        return [loopback(index) for index in range(self.endpoints)]


def write_gateway(spec: Spec, port: int, folder: Path) -> Path:
    """``conf.yaml`` with the whole chain: routes, round robin, fallback, retry, cooldown, access log to a file."""
    proxy = {
        "llm": {"name": "dgp.filter.llm.proxy", "config": {"scheme": "http"}},
        "http": {"name": "dgp.filter.http.httpproxy", "config": {}},
    }[spec.kind]
    manager = {
        "route_config": {"routes": _gateway_routes(spec)},
        "http_filters": [*spec.filters, proxy],
    }
    listener = {
        "name": "net/http",
        "protocol_type": "HTTP",
        "address": {"socket_address": {"address": "127.0.0.1", "port": port}},
        "filter_chains": {"filters": [{"name": "dgp.filter.httpconnectionmanager", "config": manager}]},
        "config": {"idle_timeout": "120s"},
    }
    endpoints = [_gateway_endpoint(spec, index, address) for index, address in enumerate(spec.addresses)]
    cluster = {"name": "llm", "lb_policy": "RoundRobin", "endpoints": endpoints}
    document = {
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
        "access_log": {"path": str(folder / "access.log")},
    }
    path = folder / "conf.yaml"
    path.write_text(yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False))
    return path


def _other_prefixes(spec: Spec) -> list[str]:
    """Prefixes of the routes that no request uses; the one in use comes after them."""
    return [f"/tenant-{number:05}/v1" for number in range(spec.routes - 1)]


def _gateway_routes(spec: Spec) -> list[dict[str, Any]]:
    prefixes = [*_other_prefixes(spec), "/v1" if spec.kind == "llm" else "/"]
    return [{"match": {"prefix": prefix}, "route": {"cluster": "llm"}} for prefix in prefixes]


def _gateway_endpoint(spec: Spec, index: int, address: str) -> dict[str, Any]:
    endpoint: dict[str, Any] = {
        "id": f"engine-{index}",
        "socket_address": {"address": address, "port": spec.upstream_port},
    }
    if spec.kind == "llm":
        endpoint["llm_meta"] = {
            "fallback": True,
            "health_check_interval": 5000,
            "retry_policy": {"name": "CountBased", "config": {"times": 1}},
        }
        if spec.models:
            endpoint["llm_meta"]["models"] = list(spec.models)
    return endpoint


def write_nginx(spec: Spec, port: int, folder: Path) -> Path:
    """nginx: nothing buffered, upstream connections kept, access log to a file and buffered as the gateway's is."""
    # Started as root, nginx would give its workers to a user who may not enter ``folder``.
    user = "user root;" if os.geteuid() == 0 else ""
    servers = "\n".join(f"    server {address}:{spec.upstream_port};" for address in spec.addresses)
    path = folder / "nginx.conf"
    others = _other_prefixes(spec)
    locations = "\n".join(f"    location {prefix}/ {{ proxy_pass http://engines; }}" for prefix in others)
    text = _NGINX.format(spec=spec, port=port, folder=folder, user=user, servers=servers, locations=locations)
    path.write_text(text)
    return path


_NGINX = """\
{user}
daemon off;
worker_processes {spec.workers};
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 10000; }}
http {{
  access_log {folder}/access.log combined buffer=64k flush=200ms;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream engines {{
{servers}
    keepalive 2048; keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096 reuseport;
    keepalive_requests 100000000; keepalive_timeout 120s;
    client_max_body_size 0;
    proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_buffering off; proxy_request_buffering off;
    location / {{
      proxy_pass http://engines;
    }}
{locations}
  }}
}}
"""
