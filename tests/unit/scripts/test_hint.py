"""What ``make run`` tells people to type: it fits the configuration, and it is no second judge of it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import yaml

from scripts.hint import command

ROOT = Path(__file__).parents[3]
QUICKSTART = ROOT / "conf" / "quickstart.yaml"
SAMPLES = [path for path in sorted((ROOT / "conf").glob("*.yaml")) if command(path.read_text())]


def hint(config: Path) -> str:
    """What the script prints for a configuration."""
    arguments = [sys.executable, str(ROOT / "scripts" / "hint.py"), str(config)]
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("config", SAMPLES, ids=lambda path: path.name)
def test_command_asks_the_first_listener(config: Path) -> None:
    """The address is that of the file, and nothing but the command is taken from its comment."""
    words = shlex.split(command(config.read_text()).replace("\\\n", " "))
    address = yaml.safe_load(config.read_text())["static_resources"]["listeners"][0]["address"]["socket_address"]
    assert words[0] == "curl"
    assert [word for word in words if word.startswith(f"http://{address['address']}:{address['port']}/v1/")]
    assert words[-2] == "-d"


def test_command_of_the_quickstart_streams() -> None:
    """The body is JSON, and the words can be watched as they come."""
    words = shlex.split(command(QUICKSTART.read_text()).replace("\\\n", " "))
    assert "-N" in words
    assert orjson.loads(words[-1])["stream"] is True


def test_command_stands_in_what_is_printed() -> None:
    """With the name of the file, so that one knows what runs."""
    printed = hint(QUICKSTART)
    assert command(QUICKSTART.read_text()) in printed
    assert str(QUICKSTART) in printed


def test_file_without_a_command_gets_none(tmp_path: Path) -> None:
    """A curl further down, or none, is no promise that it is answered."""
    config = tmp_path / "conf.yaml"
    config.write_text("# Mine.\nstatic_resources: {}\n# curl http://127.0.0.1\n")
    assert "curl" not in hint(config)


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_file_that_cannot_be_read_is_left_to_the_gateway(tmp_path: Path, content: bytes | None) -> None:
    """The script says nothing, since the gateway says it better."""
    config = tmp_path / "conf.yaml"
    if content is not None:
        config.write_bytes(content)
    assert hint(config) == ""
