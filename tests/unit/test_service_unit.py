"""The systemd unit: systemd understands it, it is locked in, and the gateway can live with that."""

from __future__ import annotations

import configparser
import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pixiu_py.config.model import ShutdownConfig

UNIT = Path(__file__).parents[2] / "conf" / "pixiu-py.service"
#: Of 100; a service without any protection has 96.
EXPOSURE = 15

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that exists, so that systemd can check the rest."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/pixiu-py/bin/pixiu-py", sys.executable))
    return copy


def service() -> configparser.SectionProxy:
    """The unit's [Service] section."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return parser["Service"]


@needs_systemd
def test_unit_is_valid(unit: Path) -> None:
    """systemd finds nothing to complain about: no misspelt key, no value that it would ignore."""
    run = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    about_us = [line for line in run.stderr.splitlines() if UNIT.name in line]
    assert (run.returncode, about_us) == (0, [])


@needs_systemd
def test_unit_is_locked_in(unit: Path) -> None:
    """The exposure that systemd computes stays low."""
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", str(unit)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def test_stopping_takes_no_longer_than_systemd_waits() -> None:
    """systemd kills only after the gateway has had all of its default time to drain."""
    assert float(service()["TimeoutStopSec"]) > ShutdownConfig().timeout


def test_keys_are_read_from_a_file_that_may_be_missing() -> None:
    """The environment file is optional, so that a gateway without keys starts."""
    assert service()["EnvironmentFile"] == "-/etc/pixiu-py/env"


WITHOUT_WRITABLE_CODE = """
import ctypes
PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None).prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0):
    raise SystemExit(77)
import asyncio, aiodns, uvloop
import pixiu_py.gateway

async def main():
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    server.close()
    resolver = aiodns.DNSResolver(nameservers=["127.0.0.1"], timeout=0.1, tries=1)
    try:
        await resolver.query_dns("example.test", "A")
    except aiodns.error.DNSError:
        pass
    await resolver.close()

uvloop.run(main())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "prctl"), reason="prctl is Linux")
def test_gateway_lives_without_memory_that_is_writable_and_executable() -> None:
    """MemoryDenyWriteExecute= suits uvloop, the DNS resolver and all C extensions in use."""
    assert service()["MemoryDenyWriteExecute"] == "yes"
    run = subprocess.run([sys.executable, "-c", WITHOUT_WRITABLE_CODE], capture_output=True, text=True)
    if run.returncode == 77:
        pytest.skip("this kernel cannot refuse writable code (Linux 6.3)")
    assert run.returncode == 0, run.stderr
