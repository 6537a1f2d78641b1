"""From a file to a config, or to what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixiu_py.config.load import MAX_FILE, load_config, load_text
from pixiu_py.config.model import HttpConnectionManagerConfig
from pixiu_py.errors import ConfigError
from pixiu_py.upstream.retry import BackoffConfig
from tests.fakes.config_kinds import ProxyConfig, load, small_registry

MINIMAL = """
static_resources:
  listeners:
    - name: net/http
      protocol_type: HTTP
      address: {socket_address: {address: 127.0.0.1, port: "${PORT:-8888}"}}
      filter_chains:
        filters:
          - name: dgp.filter.httpconnectionmanager
            config:
              route_config: {routes: [{match: {prefix: /v1}, route: {cluster: llm}}]}
              http_filters:
                - {name: dgp.filter.ai.kvcache}
                - {name: dgp.filter.llm.proxy, config: {scheme: http, timeout: 60s}}
  clusters:
    - name: llm
      lb_policy: RoundRobin
      endpoints:
        - ID: vllm-1
          socket_address: {address: 127.0.0.1, port: 8000}
          llm_meta:
            api_key: ${KEY}
            fallback: true
            health_check_interval: 5000
            retry_policy: {name: exponentialBackoff, config: {times: "2", initialInterval: 200ms, multiplier: 2}}
        - {id: vllm-2, socket_address: {address: 127.0.0.1, port: 8001}}
pprofConf: {}
"""


def failure(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, small_registry(), {})
    return str(caught.value)


def test_a_conf_yaml_of_pixius_becomes_a_frozen_config() -> None:
    text = MINIMAL.replace("pprofConf", "metric")
    resources = load(text, environ={"PORT": "9000", "KEY": "0123"}).config.static_resources
    listener = resources.listeners[0]
    manager = listener.filter_chains.filters[0].config
    endpoint = resources.clusters[0].endpoints[0]
    assert listener.address.socket_address.port == 9000
    assert isinstance(manager, HttpConnectionManagerConfig)
    assert manager.http_filters[1].config == ProxyConfig(timeout=60.0)
    assert endpoint.id == "vllm-1"
    assert endpoint.llm_meta is not None
    assert endpoint.llm_meta.api_key is not None
    assert endpoint.llm_meta.api_key.reveal() == "0123"
    assert endpoint.llm_meta.retry_policy.config == BackoffConfig(times=2, initialInterval=0.2)


def test_problems_of_every_step_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load(MINIMAL.replace("cluster: llm", "cluster: other"))
    told = [(problem.line, problem.path.split(".")[-1]) for problem in caught.value.problems]
    assert told == [(11, "cluster"), (22, "api_key"), (27, "pprofConf")]


def test_the_file_is_named_as_the_user_named_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yml").write_text("nodes: {}\n")
    assert failure(Path("my.yml")) == "my.yml:1:1: nodes: Unknown key; did you mean 'node'?"
    assert failure(tmp_path / "my.yml").startswith(f"{tmp_path}/my.yml:1:1: ")


def test_secret_files_are_looked_for_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-1\n")
    path = tmp_path / "conf.yaml"
    path.write_text(MINIMAL.replace("${KEY}", "!file key").replace("pprofConf", "node"))
    endpoint = load_config(path, small_registry(), {}).config.static_resources.clusters[0].endpoints[0]
    assert endpoint.llm_meta is not None
    assert endpoint.llm_meta.api_key is not None
    assert endpoint.llm_meta.api_key.reveal() == "sk-1"


@pytest.mark.parametrize("name", ["conf.json", "conf", "conf.yaml.bak"])
def test_the_suffix_tells_that_it_is_yaml(name: str, tmp_path: Path) -> None:
    assert failure(tmp_path / name) == f"{tmp_path / name}: Expected a file that ends in .yaml or .yml"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert failure(tmp_path / "none.yaml") == f"{tmp_path}/none.yaml: cannot be read: No such file or directory"


def test_a_file_of_any_size_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate(MAX_FILE + 1)
    assert failure(path) == f"{path}: is larger than {MAX_FILE} bytes"


def test_bytes_that_are_not_utf8_have_a_place(tmp_path: Path) -> None:
    path = tmp_path / "conf.yaml"
    path.write_bytes(b"node:\n  \xc3\xa9: \xff\n")
    assert failure(path) == f"{path}:2:6: Not UTF-8: invalid start byte"


def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    path = tmp_path / "conf.yaml"
    path.write_bytes(b"\xef\xbb\xbfnode: {}\n")
    assert load_config(path, small_registry(), {}).config.node == {}


def test_the_environment_is_the_processs_unless_another_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_NAME", "here")
    text = "node: {id: '${NODE_NAME}'}"
    assert load_text(text, small_registry()).config.node == {"id": "here"}
    with pytest.raises(ConfigError):
        load_text(text, small_registry(), {})


def test_warnings_come_with_the_config() -> None:
    warnings = load("node: {}\nstatic_resources: {clusters: [{lb: Rand}]}").warnings
    assert [str(warning) for warning in warnings] == [
        "conf.yaml:2:19: static_resources.listeners: No listener: nobody can reach this gateway",
        "conf.yaml:2:32: static_resources.clusters[0].lb: 'lb' is an older spelling of 'lb_policy'",
    ]
