"""docs/operating.md tells the truth: flags, exit codes, log fields, errors, limits."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from pixiu_py import cli
from pixiu_py.cli import main
from pixiu_py.clusters import agreement, health
from pixiu_py.config import load
from pixiu_py.config.model import (
    AccessLog,
    DnsSettings,
    HealthCheck,
    HttpServerConfig,
    ShutdownConfig,
)
from pixiu_py.config.tables import rows
from pixiu_py.config.types import parse_size
from pixiu_py.errors import GatewayError, UpstreamTimeout
from pixiu_py.filters.http.httpproxy import HttpProxyConfig
from pixiu_py.filters.llm.proxy import LlmProxyConfig
from pixiu_py.filters.llm.usage import USAGE, Usage
from pixiu_py.http import connection, exchange, writer
from pixiu_py.observability import access_log, metrics
from pixiu_py.observability.access_log import line
from pixiu_py.upstream.retry import RetryConfig
from tests.conftest import StartGateway
from tests.docs.pages import ROOT, code, section, tables
from tests.fakes.client import Client
from tests.fakes.conf import endpoint, llm_conf
from tests.fakes.exchange import make_exchange

PAGE = "operating.md"
COMMANDS, FLAGS, EXIT_CODES = tables(section(PAGE, "Command line"))
(ERRORS,) = tables(section(PAGE, "Errors"))
(LIMITS,) = tables(section(PAGE, "Limits"))


@pytest.fixture
def usage(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """``usage("gateway", "start")``: what the program prints for ``--help``."""

    def usage(*command: str) -> str:
        with pytest.raises(SystemExit):
            main([*command, "--help"], {})
        return capsys.readouterr().out

    return usage


# --- command line ----------------------------------------------------------------------------------------------------


def test_every_flag_is_there(usage: Callable[..., str]) -> None:
    """The table has the flags of ``gateway start``, no more and no less."""
    flags = set(re.findall(r"(?<![\w-])-{1,2}[a-z][\w-]*", usage("gateway", "start").partition("options:")[2]))
    assert {flag for row in FLAGS for flag in code(row[0])} == flags - {"-h", "--help"}


def test_every_command_is_there(usage: Callable[..., str]) -> None:
    """Both levels of subcommands are in the table of commands."""
    documented = {name for row in COMMANDS for name in code(row[0])}
    top, below = (re.findall(r"^    (\w+)", usage(*command), re.MULTILINE) for command in ((), ("gateway",)))
    top.remove("gateway")
    assert {f"pixiu-py {name}" for name in top} | {f"pixiu-py gateway {name}" for name in below} <= documented


@pytest.mark.parametrize("row", FLAGS, ids=[row[1] for row in FLAGS])
def test_a_flag_has_its_variable(row: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Named like the long flag; a value that cannot be is complained of, under the flag's name, if anything can."""
    flag, (variable,) = code(row[0])[-1], code(row[1])
    assert variable == "PIXIU_PY_" + flag[2:].upper().replace("-", "_")
    if flag in ("--log-level", "--log-format", "--limit-cpus"):
        for name in (variable, variable.replace("PIXIU_PY", "DUBBOGO_PIXIU")):
            with pytest.raises(SystemExit):
                main(["gateway", "start"], {name: "nonsense"})
            assert flag in capsys.readouterr().err


def test_where_the_configuration_is_looked_for() -> None:
    """The first that exists, else the last."""
    (row,) = [row for row in FLAGS if "--config" in row[0]]
    assert tuple(code(row[2])) == cli.CONFIG_PATHS


def test_exit_codes(tmp_path: Path) -> None:
    """0 for a good file, 2 for a bad one; 1 is tested where programs are started."""
    assert [code for (code, _) in EXIT_CODES] == [str(number) for number in (cli.OK, cli.FAILED, cli.WRONG)]
    assert main(["gateway", "validate", "-c", str(ROOT / "conf/quickstart.yaml")], {}) == 0
    bad = tmp_path / "conf.yaml"
    bad.write_text("static_resources: {listeners: 1}")
    assert main(["gateway", "validate", "-c", str(bad)], {}) == 2
    assert main(["gateway", "start", "-c", str(bad)], {}) == 2


def test_what_only_a_plugin_refuses_is_a_wrong_configuration(tmp_path: Path) -> None:
    """A problem that shows only when clusters are built ends with 2 and a sentence, not with a traceback."""
    text = (ROOT / "conf/quickstart.yaml").read_text("utf-8")
    bad = tmp_path / "conf.yaml"
    bad.write_text(text.replace("RoundRobin", "MaglevHashing\n      consistent: {maglev_table_size: 100}"))
    command = [sys.executable, "-m", "pixiu_py", "gateway", "start", "-c", str(bad)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 2
    assert run.stderr.startswith("static_resources.clusters[0].consistent.maglev_table_size: 100 is not a prime")


def test_the_example_of_a_problem_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message that the page shows is the program's own."""
    bad = tmp_path / "conf.yaml"
    bad.write_text((ROOT / "conf/quickstart.yaml").read_text("utf-8").replace("cluster: llm", "cluster: lm"))
    assert main(["gateway", "validate", "-c", str(bad)], {}) == 2
    (shown,) = re.findall(r"route\.cluster: .*", section(PAGE, "Check a configuration"))
    assert shown in capsys.readouterr().err


# --- logs and errors -------------------------------------------------------------------------------------------------


def test_every_field_of_the_access_log_is_there() -> None:
    """And those of an attempt, and of the token counts."""
    (fields,) = tables(section(PAGE, "Access log"))
    exchange_ = make_exchange()
    exchange_.attempts += [exchange.Attempt("e", "127.0.0.1:1", "c", model="m")] * 2
    exchange_.params[USAGE] = Usage()
    record = orjson.loads(line(exchange_, 1.0, 1.0))
    assert [name for row in fields for name in code(row[0])] == list(record)
    attempts, usage = (code(row[1]) for row in fields[-2:])
    assert attempts == list(record["attempts"][0])
    assert usage == list(record["usage"])


def test_every_event_worth_an_alert_is_logged() -> None:
    """The texts are those of the sources."""
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "pixiu_py").rglob("*.py"))
    (events,) = tables(section(PAGE, "The gateway's own log"))
    assert [event for row in events for event in code(row[0]) if f'"{event}"' not in sources] == []


async def test_every_metric_of_the_gateway_is_there_with_its_labels(gateway: StartGateway) -> None:
    """After one exchange that failed everywhere, so that there is something to show of an endpoint."""
    (rows_,) = tables(section(PAGE, "Metrics"))
    labels = {code(row[0])[0]: code(row[1]) for row in rows_}
    metric = {"enable": True, "prometheus_port": 0}
    running = await gateway(llm_conf(endpoint(1, "e", health_check_interval=60000), top={"metric": metric}))
    assert (await running.chat()).status == 502
    async with Client(running.ports["metrics"]) as client:
        page = (await client.request("GET", "/metrics")).body.decode()
    assert set(labels) == set(re.findall(r"^# HELP (\w+)", page, re.MULTILINE))
    for name, values in re.findall(r"^(pixiu\w+)(?:{(.*)})?", page, re.MULTILINE):
        assert re.findall(r"(\w+)=", values) == labels[name], name


def errors(cls: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    """The class and all below it, of this package."""
    yield cls
    for below in cls.__subclasses__():
        if below.__module__.startswith("pixiu_py."):
            yield from errors(below)


def test_every_kind_of_error_is_there_with_its_status() -> None:
    """One row for each, timeouts by their phases."""
    documented = {(kind, int(row[1])) for row in ERRORS for kind in code(row[0])}
    phases = [UpstreamTimeout(phase) for phase in ("connect", "first_byte", "idle", "total")]
    known = {(cls.kind, cls.status) for cls in errors() if cls is not UpstreamTimeout}
    assert documented == known | {(error.kind, error.status) for error in phases}
    assert writer.FilterFault in errors()


# --- limits ----------------------------------------------------------------------------------------------------------

OWNERS = {
    "listener": HttpServerConfig,
    "LLM proxy": LlmProxyConfig,
    "HTTP proxy": HttpProxyConfig,
    "proxies": LlmProxyConfig,
    "retry policy": RetryConfig,
    "health check": HealthCheck,
    "DNS": DnsSettings,
    "access log": AccessLog,
    "shutdown": ShutdownConfig,
}
#: Limits without a key: how the row begins → the number in the source.
FIXED = {
    "one header field": connection.MAX_FIELD,
    "request body, parsed": exchange.MAX_BUFFERED_BODY,
    "probes of a cluster": health.CONCURRENCY,
    "label combinations": metrics.DEFAULT_MAX_SERIES,
    "characters of a label": metrics.LONGEST_LABEL,
    "configuration file": load.MAX_FILE,
    "worker processes": cli.MAX_WORKERS,
    "notices between workers that wait, or are remembered": agreement.MOST_NOTICES,
}
SECONDS = {"s": 1, "m": 60, "h": 3600}


def number(text: str) -> float:
    """``64KiB``, ``10s``, ``1h`` or a plain number."""
    amount, unit = re.fullmatch(r"(\d+)(\w*)", text).groups()  # type: ignore[union-attr]
    return int(amount) * SECONDS[unit] if unit in SECONDS else parse_size(text)


@pytest.mark.parametrize("row", LIMITS, ids=[row[0] for row in LIMITS])
def test_a_limit_is_what_it_is_said_to_be(row: list[str]) -> None:
    """The key exists and has this default; a fixed limit is that of the source."""
    what, key, default, _ = row
    if key == "fixed":
        (found,) = [value for start, value in FIXED.items() if what.startswith(start)]
        assert number(default) == found
        return
    owner, name = key.split(" `")[0], code(key)[0]
    (shown,) = [found.default.strip("`") for found in rows(OWNERS[owner]) if found.key == name]
    if shown in ("0", "0s"):
        inside = {"maxConnsPerHost": "max_connections", "maxIdleConnsPerHost": "max_idle"}.get(name)
        shown = str(getattr(LlmProxyConfig().pool_settings(), inside)) if inside else "0: no limit"
    assert default == shown
    if "times" in key:
        assert key.endswith(f"times {access_log._BACKLOG}")


def test_every_fixed_limit_is_there() -> None:
    """No row of the source's numbers has got lost."""
    assert len([row for row in LIMITS if row[1] == "fixed"]) == len(FIXED)
