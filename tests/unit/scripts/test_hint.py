"""What ``make run`` tells people to type: it fits the configuration, and it is no second judge of it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import yaml

ROOT = Path(__file__).parents[3]
QUICKSTART = ROOT / "conf" / "quickstart.yaml"


def hint(config: Path) -> str:
    """What the script prints for a configuration."""
    command = [sys.executable, str(ROOT / "scripts" / "hint.py"), str(config)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def curl_words(text: str) -> list[str]:
    """The words of the command in the hint."""
    start = text.index("curl ")
    return shlex.split(text[start : text.index("\n\n", start)].replace("\\\n", " "))


def test_command_fits_the_quickstart() -> None:
    """The address is the first listener's, the body is JSON, and the quickstart's models serve the model it names."""
    words = curl_words(hint(QUICKSTART))
    address = yaml.safe_load(QUICKSTART.read_text())["static_resources"]["listeners"][0]["address"]["socket_address"]
    assert f"http://{address['address']}:{address['port']}/v1/chat/completions" in words
    body = orjson.loads(words[words.index("-d") + 1])
    assert body["stream"] is True
    assert body["model"] in QUICKSTART.read_text()


def test_wildcard_address_is_reached_on_this_machine(tmp_path: Path) -> None:
    """A gateway that listens everywhere is tried at 127.0.0.1."""
    config = tmp_path / "conf.yaml"
    address = {"socket_address": {"address": "0.0.0.0", "port": 1234}}
    config.write_text(yaml.safe_dump({"static_resources": {"listeners": [{"address": address}]}}))
    assert "http://127.0.0.1:1234/" in hint(config)


@pytest.mark.parametrize("text", ["", "[]", "static_resources: {listeners: []}", "a: [", None])
def test_broken_configuration_is_left_to_the_gateway(tmp_path: Path, text: str | None) -> None:
    """No file, no YAML, no listener: the script says nothing, since the gateway says it better."""
    config = tmp_path / "conf.yaml"
    if text is not None:
        config.write_text(text)
    assert hint(config) == ""
