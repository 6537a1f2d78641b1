"""What the command line decides about a run, apart from the configuration file's content."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LOG_LEVELS = ("trace", "debug", "info", "warning", "error", "critical")
LOG_FORMATS = ("json", "console")


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one run. An empty ``log_level`` or ``log_format`` leaves the choice to the file."""

    config_path: Path
    plugins_dir: Path | None = None
    log_level: str = ""
    log_format: str = ""
    #: Worker processes; at least 1.
    workers: int = 1
