"""From a file to a frozen config, or to everything that is wrong with it.

text → tree with places (``document``) → models (``decode``) → rules across blocks (``check``). Each step reports into
one ``Report``; the config is handed out only if it stayed free of problems.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pixiu_py.config.broken import BROKEN
from pixiu_py.config.check import check, complete
from pixiu_py.config.decode import Decoder
from pixiu_py.config.document import parse, place_of
from pixiu_py.config.model import Config
from pixiu_py.config.report import Report
from pixiu_py.errors import ConfigError, Problem
from pixiu_py.registry import Registry

SUFFIXES = (".yaml", ".yml")
#: Largest configuration file, in bytes.
MAX_FILE = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be used, and what its author may want to know about it."""

    config: Config
    warnings: list[Problem]


def load_config(path: Path, registry: Registry, environ: Mapping[str, str] | None = None) -> Loaded:
    """Read a configuration file. ``environ`` None: the process's. Raises ``ConfigError`` with every problem."""
    text = _read(path)
    return load_text(text, registry, environ, file=str(path), folder=path.parent)


def load_text(
    text: str,
    registry: Registry,
    environ: Mapping[str, str] | None = None,
    *,
    file: str = "conf.yaml",
    folder: Path | None = None,
) -> Loaded:
    """As ``load_config``, from text. ``file`` is the name in messages, ``folder`` where the paths of ``!file`` start."""
    report = Report(file)
    root = parse(text, report, os.environ if environ is None else environ, folder or Path())
    config = Decoder(registry, report).decode(root, Config, "") if root else BROKEN
    if config is not BROKEN:
        check(config, registry, report)
    if report.problems:
        raise ConfigError(report.problems)
    return Loaded(complete(config, registry), report.warnings)


def _read(path: Path) -> str:
    name = str(path)
    if path.suffix not in SUFFIXES:
        raise ConfigError([Problem("", f"Expected a file that ends in {' or '.join(SUFFIXES)}", name)])
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigError([Problem("", f"cannot be read: {error.strerror}", name)]) from None
    if len(content) > MAX_FILE:
        raise ConfigError([Problem("", f"is larger than {MAX_FILE} bytes", name)])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig")
        line, column = place_of(before, len(before))
        raise ConfigError([Problem("", f"Not UTF-8: {error.reason}", name, line, column)]) from None
