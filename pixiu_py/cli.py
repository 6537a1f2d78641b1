"""The command line: ``pixiu-py gateway start | validate | kinds``, ``kinds``, ``schema``; the books are in ``cli_books``.

Flags are Pixiu's, so are their environment variables (``DUBBOGO_PIXIU_…``); ``PIXIU_PY_…`` comes before those, and a flag
before both. Exit codes: 0 fine, 1 the gateway could not start or run, 2 the configuration, a plugin or the command line
is wrong. Whatever a command does not need is not imported.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pixiu_py import __version__, cli_books
from pixiu_py.output import open_standard_streams, put
from pixiu_py.settings import LOG_FORMATS, LOG_LEVELS, Settings

if TYPE_CHECKING:
    from pixiu_py.config.load import Loaded
    from pixiu_py.registry import Registry

OK, FAILED, WRONG = 0, 1, 2

#: Pixiu's place for the file, and ours.
CONFIG_PATHS = ("configs/conf.yaml", "conf/conf.yaml")
MAX_WORKERS = 1024


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run one command and return its exit code. Exits itself for ``--help``, ``--version`` and wrong usage."""
    open_standard_streams()
    parsed = _parser(environ).parse_args(arguments)
    parsed.environ = environ
    code: int = parsed.command(parsed)
    return code


# --- commands --------------------------------------------------------------------------------------------------------


def _start(options: argparse.Namespace) -> int:
    read = _read(options)
    if read is None:
        return WRONG
    registry, loaded = read
    for flag in ("api_config", "log_config"):
        if getattr(options, flag):
            _tell(f"warning: --{flag.replace('_', '-')} is accepted for Pixiu's sake and has no effect")
    settings = Settings(
        config_path=options.config,
        plugins_dir=options.plugins_dir,
        log_level=options.log_level,
        log_format=options.log_format,
        workers=options.limit_cpus or _cores(),
    )
    from pixiu_py.errors import ConfigError, StartError
    from pixiu_py.gateway import run

    try:
        return run(loaded.config, registry, settings)
    except ConfigError as error:  # what only a plugin can find out, when it is built
        _tell(str(error))
        return WRONG
    except StartError as error:
        _tell(f"cannot start: {error}")
        return FAILED


def _validate(options: argparse.Namespace) -> int:
    if _read(options) is None:
        return WRONG
    return put(f"{options.config}: ok\n")


def _kinds(options: argparse.Namespace) -> int:
    registry = _registry(options)
    if registry is None:
        return WRONG
    rows = [(entry.family.value, entry.kind, entry.status, entry.summary) for entry in registry]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    cells = ([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]] for row in rows)
    return put("".join(f"{'  '.join(row).rstrip()}\n" for row in cells))


def _schema(options: argparse.Namespace) -> int:
    registry = _registry(options)
    if registry is None:
        return WRONG
    import json

    from pixiu_py.config.schema import json_schema

    return put(f"{json.dumps(json_schema(registry), indent=2, ensure_ascii=False)}\n")


def _read(options: argparse.Namespace) -> tuple[Registry, Loaded] | None:
    """The registry and the configuration; None after their errors have been printed."""
    from pixiu_py.config.load import load_config
    from pixiu_py.errors import ConfigError

    registry = _registry(options)
    if registry is None:
        return None
    try:
        loaded = load_config(options.config, registry, options.environ)
    except ConfigError as error:
        _tell(str(error))
        return None
    for warning in loaded.warnings:
        _tell(f"warning: {warning}")
    return registry, loaded


def _registry(options: argparse.Namespace) -> Registry | None:
    """The registry; None after its error has been printed."""
    from pixiu_py.errors import PluginError
    from pixiu_py.plugins import build_registry

    try:
        return build_registry(options.plugins_dir)
    except PluginError as error:
        _tell(str(error))
        return None


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# --- flags -----------------------------------------------------------------------------------------------------------


class _Flags:
    """Adds flags whose defaults come from the environment."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def default(self, name: str, fallback: str) -> str:
        """The value of ``PIXIU_PY_<name>``, else of ``DUBBOGO_PIXIU_<name>``, else ``fallback``. Empty counts as unset."""
        found = (self._environ.get(f"{prefix}_{name}") for prefix in ("PIXIU_PY", "DUBBOGO_PIXIU"))
        return next(filter(None, found), fallback)

    def config(self, parser: argparse.ArgumentParser) -> None:
        """``-c``."""
        default = next((path for path in CONFIG_PATHS if Path(path).exists()), CONFIG_PATHS[-1])
        parser.add_argument(
            "-c",
            "--config",
            type=Path,
            metavar="FILE",
            default=Path(self.default("CONFIG", default)),
            help="configuration",
        )

    def plugins_dir(self, parser: argparse.ArgumentParser) -> None:
        """``--plugins-dir``."""
        parser.add_argument(
            "--plugins-dir",
            type=Path,
            metavar="FOLDER",
            default=self.default("PLUGINS_DIR", "") or None,
            help="folder with drop-in plugins",
        )

    def run(self, parser: argparse.ArgumentParser) -> None:
        """What only ``gateway start`` has."""
        parser.add_argument(
            "-l",
            "--log-level",
            type=_one_of(LOG_LEVELS),
            default=self.default("LOG_LEVEL", ""),
            metavar="LEVEL",
            help=f"{', '.join(LOG_LEVELS)}; default: the file's, else info",
        )
        parser.add_argument(
            "-f",
            "--log-format",
            type=_one_of(LOG_FORMATS),
            default=self.default("LOG_FORMAT", ""),
            metavar="FORMAT",
            help=f"{' or '.join(LOG_FORMATS)}; default: the file's, else console on a terminal",
        )
        parser.add_argument(
            "-m",
            "--limit-cpus",
            type=_count,
            default=self.default("LIMIT_CPUS", "1"),
            metavar="N",
            help="worker processes; 0: one for each core; default: 1",
        )
        for short, name in (("-a", "api-config"), ("-g", "log-config")):
            default = self.default(name.upper().replace("-", "_"), "")
            parser.add_argument(short, f"--{name}", metavar="FILE", default=default, help="accepted, without effect")


def _one_of(words: Sequence[str]) -> Callable[[str], str]:
    """An argument type: one of some words, whatever its case; or nothing."""

    def check(text: str) -> str:
        if text and text.lower() not in words:
            raise argparse.ArgumentTypeError(f"expected one of {', '.join(words)}, got {text!r}")
        return text.lower()

    return check


def _count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = -1
    if not 0 <= count <= MAX_WORKERS:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to {MAX_WORKERS}, got {text!r}")
    return count


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    flags = _Flags(environ)
    parser = argparse.ArgumentParser(prog="pixiu-py", description="An AI gateway that speaks Pixiu's conf.yaml.")
    parser.add_argument("--version", action="version", version=f"pixiu-py {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    gateway = commands.add_parser("gateway", help="run the gateway, or look at its parts")
    actions = gateway.add_subparsers(required=True, metavar="ACTION")
    start = actions.add_parser("start", help="run the gateway")
    start.set_defaults(command=_start)
    flags.config(start)
    flags.plugins_dir(start)
    flags.run(start)
    validate = actions.add_parser("validate", help="read the configuration and report everything wrong with it")
    validate.set_defaults(command=_validate)
    flags.config(validate)
    flags.plugins_dir(validate)

    for group in (actions, commands):
        kinds = group.add_parser("kinds", help="list every plugin: family, kind, status, what it does")
        kinds.set_defaults(command=_kinds)
        flags.plugins_dir(kinds)
    schema = commands.add_parser("schema", help="print the JSON Schema of the configuration file")
    schema.set_defaults(command=_schema)
    flags.plugins_dir(schema)
    cli_books.add_commands(commands, flags, _read)
    return parser
