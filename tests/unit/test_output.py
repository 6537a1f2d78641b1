"""What commands print goes somewhere, or nothing is said but why not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = pytest.mark.parametrize("command", [["schema"], ["kinds"], ["--ledger"]], ids=["schema", "kinds", "books"])


def run(command: list[str], stdout: int, folder: Path) -> tuple[int, str]:
    """Exit code, and what was said on standard error."""
    if command == ["--ledger"]:
        import sqlite3

        sqlite3.connect(folder / "ledger.db").close()
        command = ["usage", "--ledger", str(folder / "ledger.db")]
    whole = [sys.executable, "-m", "pixiu_py", *command]
    done = subprocess.run(whole, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stderr


@COMMANDS
def test_reader_that_has_seen_enough_is_no_fault(command: list[str], tmp_path: Path) -> None:
    """As with ``| head``."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert run(command, writing, tmp_path) == (0, "")
    finally:
        os.close(writing)


@COMMANDS
def test_disk_that_is_full_is_told_in_a_line(command: list[str], tmp_path: Path) -> None:
    """And the exit code says so."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        assert run(command, full, tmp_path) == (1, "standard output: No space left on device\n")
    finally:
        os.close(full)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_standard_streams_that_are_not_there_go_nowhere(closed: str, tmp_path: Path) -> None:
    """Else the first files that are opened would be taken for them."""
    marker = tmp_path / "marker"
    program = (
        "import os, sys; from pixiu_py.output import open_standard_streams as fill; fill();"
        "print('out'); print('err', file=sys.stderr); fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY);"
        "os.write(fd, b'%d' % (fd > 2))"
    )
    command = [sys.executable, "-c", program, str(marker)]
    done = subprocess.run(["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *command], check=False)
    assert done.returncode == 0
    assert marker.read_text() == "1"
