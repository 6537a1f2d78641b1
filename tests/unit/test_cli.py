"""The command line: flags, environment, exit codes, what is printed where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pixiu_py import __version__, gateway
from pixiu_py.cli import main
from pixiu_py.errors import StartError
from pixiu_py.settings import Settings

GOOD = """
static_resources:
  listeners:
    - filter_chains:
        filters:
          - name: dgp.filter.httpconnectionmanager
            config:
              route_config: {routes: [{match: {prefix: /}, route: {}}]}
              http_filters: [{name: dgp.filter.llm.mock}]
"""
PLUGIN = """from pixiu_py.filters.base import HttpFilter
from pixiu_py.registry import Family, plugin

@plugin(Family.HTTP_FILTER, "acme.filter.one", status="beta")
class One(HttpFilter):
    '''Does nothing at all.'''
"""


class Runs:
    """Stands in for ``gateway.run`` and remembers what it was given."""

    def __init__(self) -> None:
        self.settings: list[Settings] = []
        self.ends_with: int | Exception = 0

    def __call__(self, config: Any, registry: Any, settings: Settings) -> int:
        assert config.static_resources.listeners
        assert list(registry)
        self.settings.append(settings)
        if isinstance(self.ends_with, Exception):
            raise self.ends_with
        return self.ends_with


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    made = Runs()
    monkeypatch.setattr(gateway, "run", made)
    return made


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with a good configuration."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(GOOD)
    return tmp_path


def started(runs: Runs, *flags: str, **environ: str) -> Settings:
    assert main(["gateway", "start", *flags], environ) == 0
    return runs.settings[-1]


# --- gateway start ---------------------------------------------------------------------------------------------------


def test_settings_of_a_plain_start(runs: Runs) -> None:
    assert started(runs, "-c", "good.yaml") == Settings(Path("good.yaml"), None, "", "", 1)


def test_every_flag_reaches_the_gateway(runs: Runs, here: Path) -> None:
    (here / "drop").mkdir()
    flags = ["-c", "good.yaml", "-l", "DEBUG", "-m", "3", "-f", "console", "--plugins-dir", "drop"]
    assert started(runs, *flags) == Settings(Path("good.yaml"), Path("drop"), "debug", "console", 3)


def test_zero_workers_means_one_for_each_core(runs: Runs) -> None:
    assert started(runs, "-c", "good.yaml", "-m", "0").workers == len(os.sched_getaffinity(0))


def test_our_environment_wins_over_pixius_and_a_flag_over_both(runs: Runs) -> None:
    pixiu = {"DUBBOGO_PIXIU_CONFIG": "good.yaml", "DUBBOGO_PIXIU_LOG_LEVEL": "error", "DUBBOGO_PIXIU_LIMIT_CPUS": "2"}
    ours = {"PIXIU_PY_LOG_LEVEL": "debug", "PIXIU_PY_LOG_FORMAT": "console", "PIXIU_PY_LIMIT_CPUS": ""}
    assert started(runs, **pixiu) == Settings(Path("good.yaml"), None, "error", "", 2)
    assert started(runs, **pixiu, **ours) == Settings(Path("good.yaml"), None, "debug", "console", 2)
    assert started(runs, "-l", "info", **pixiu, **ours).log_level == "info"


def test_the_configuration_is_looked_for_where_pixiu_has_it_then_in_conf(runs: Runs, here: Path) -> None:
    for folder in ("conf", "configs"):
        (here / folder).mkdir()
        (here / folder / "conf.yaml").write_text(GOOD)
        assert started(runs).config_path == Path(folder, "conf.yaml")


def test_the_given_environment_is_the_one_that_the_file_refers_to(runs: Runs, here: Path) -> None:
    (here / "env.yaml").write_text("log: {level: '${LEVEL}'}" + GOOD)
    started(runs, "-c", "env.yaml", LEVEL="info")
    assert main(["gateway", "start", "-c", "env.yaml"], {}) == 2


def test_pixius_other_files_are_accepted_and_said_to_do_nothing(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    started(runs, "-c", "good.yaml", "-a", "api.yaml", DUBBOGO_PIXIU_LOG_CONFIG="log.yml")
    assert capsys.readouterr().err.splitlines() == [
        "warning: --api-config is accepted for Pixiu's sake and has no effect",
        "warning: --log-config is accepted for Pixiu's sake and has no effect",
    ]


@pytest.mark.parametrize("code", [0, 1, 130])
def test_the_gateways_exit_code_is_ours(code: int, runs: Runs) -> None:
    runs.ends_with = code
    assert main(["gateway", "start", "-c", "good.yaml"], {}) == code


def test_a_gateway_that_cannot_start_gives_one_line(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    runs.ends_with = StartError("port 80 is in use")
    assert main(["gateway", "start", "-c", "good.yaml"], {}) == 1
    assert capsys.readouterr() == ("", "cannot start: port 80 is in use\n")


def test_a_wrong_configuration_is_never_started(runs: Runs, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "bad.yaml").write_text("lgo: {}\nnod: {}\n")
    assert main(["gateway", "start", "-c", "bad.yaml"], {}) == 2
    assert capsys.readouterr().err.splitlines() == [
        "bad.yaml:1:1: lgo: Unknown key; did you mean 'log'?",
        "bad.yaml:2:1: nod: Unknown key; did you mean 'node'?",
    ]
    assert runs.settings == []


def test_a_wrong_plugin_is_never_started(runs: Runs, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "drop").mkdir()
    (here / "drop/bad.py").write_text("1 / 0\n")
    assert main(["gateway", "start", "-c", "good.yaml", "--plugins-dir", "drop"], {}) == 2
    assert capsys.readouterr().err.startswith("drop/bad.py:1: cannot be imported")
    assert runs.settings == []


@pytest.mark.parametrize(
    ("flags", "environ"),
    [
        (["-l", "loud"], {}),
        (["-f", "xml"], {}),
        (["-m", "-1"], {}),
        (["-m", "many"], {}),
        (["-m", "100000"], {}),
        ([], {"DUBBOGO_PIXIU_LOG_LEVEL": "loud"}),
        ([], {"PIXIU_PY_LIMIT_CPUS": "x"}),
        (["--none"], {}),
    ],
)
def test_wrong_usage_is_an_error(flags: list[str], environ: dict[str, str], runs: Runs) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["gateway", "start", "-c", "good.yaml", *flags], environ)
    assert caught.value.code == 2
    assert runs.settings == []


# --- the other commands ----------------------------------------------------------------------------------------------


def test_validate_says_ok(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gateway", "validate", "-c", "good.yaml"], {}) == 0
    assert capsys.readouterr() == ("good.yaml: ok\n", "")


def test_validate_tells_every_error(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "bad.yaml").write_text("lgo: {}\nnod: {}\n")
    assert main(["gateway", "validate", "-c", "bad.yaml"], {}) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 2)


def test_validate_tells_warnings_aside(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "odd.yaml").write_text("node: {}\n")
    assert main(["gateway", "validate", "-c", "odd.yaml"], {}) == 0
    assert capsys.readouterr() == (
        "odd.yaml: ok\n",
        "warning: odd.yaml:1:1: static_resources.listeners: No listener: nobody can reach this gateway\n",
    )


@pytest.mark.parametrize("command", [["kinds"], ["gateway", "kinds"]])
def test_kinds_lists_one_plugin_a_line(command: list[str], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "drop").mkdir()
    (here / "drop/one.py").write_text(PLUGIN)
    assert main([*command, "--plugins-dir", "drop"], {}) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["http", "filter", "acme.filter.one", "beta", "Does", "nothing", "at", "all."] in lines
    assert len(lines) > 10


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"], {}) == 0
    assert json.loads(capsys.readouterr().out)["$ref"] == "#/$defs/Config"


@pytest.mark.parametrize("command", ["kinds", "schema"])
def test_a_wrong_plugin_ends_the_other_commands_too(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--plugins-dir", "none"], {}) == 2
    assert capsys.readouterr() == ("", "none: the plugins folder does not exist\n")


def test_the_version_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"], {})
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"pixiu-py {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["gateway"], ["sidecar", "start"]])
def test_no_command_is_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments, {})
    assert caught.value.code == 2


def test_asking_for_the_version_imports_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['x', '--help']\nfrom pixiu_py.cli import main\ntry: main()\nexcept SystemExit: pass\n"
    )
    script += "print(sorted({'aiohttp', 'asyncio', 'msgspec', 'yaml', 'structlog'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.splitlines()[-1] == "[]"
