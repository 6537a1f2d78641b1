"""Rules of the gateway's own log: JSON or lines for people, on standard error, from the level on that was asked for."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from pixiu_py.observability.log import configure


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def logged(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == "", "standard output is the access log's"
    return captured.err.splitlines()


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """One object per event, with level and time."""
    configure("info", "json")
    structlog.get_logger("x").info("hello", count=1)
    (entry,) = map(json.loads, logged(capsys))
    assert (entry["event"], entry["level"], entry["count"]) == ("hello", "info", 1)
    assert entry["timestamp"].endswith("Z")


@pytest.mark.parametrize("format_", ["json", "", "console"])
def test_exception_is_told(capsys: pytest.CaptureFixture[str], format_: str) -> None:
    """In JSON within its line; where no terminal is, JSON is the default."""
    configure("info", format_)
    try:
        raise KeyError("lost")
    except KeyError:
        structlog.get_logger("x").exception("failed")
    rows = logged(capsys)
    if format_ == "console":
        assert any("KeyError" in row for row in rows)
    else:
        assert "KeyError: 'lost'" in json.loads(rows[0])["exception"]
        assert len(rows) == 1


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("trace", ["debug", "info", "warning", "error"]),
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
        ("critical", []),
    ],
)
def test_levels(capsys: pytest.CaptureFixture[str], level: str, shown: list[str]) -> None:
    """Below the level nothing is written."""
    configure(level, "json")
    log = structlog.get_logger("x")
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)(name)
    assert [json.loads(row)["event"] for row in logged(capsys)] == shown


def test_libraries_log_into_the_same_stream(capsys: pytest.CaptureFixture[str]) -> None:
    """Their warnings; not what they find informative."""
    configure("debug", "json")
    logging.getLogger("asyncio").warning("slow callback")
    logging.getLogger("asyncio").info("chatter")
    (row,) = logged(capsys)
    assert "slow callback" in row


def test_line_that_cannot_be_written_is_lost_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's work ends for a disk that is full; what can be written again is."""
    with open("/dev/full", "w", buffering=1) as full:
        monkeypatch.setattr("sys.stderr", full)
        configure("info", "json")
        structlog.get_logger("x").info("hello")
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()
