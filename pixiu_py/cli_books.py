"""The commands that read and keep the books: ``usage``, ``promptcache tariff list | set | disable``, ``promptcache key …``.

They open the ledger that the configuration names, or the one of ``--ledger``, also while gateways use it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pixiu_py.output import put

if TYPE_CHECKING:
    from pixiu_py.stores.ledger.base import Ledger, LedgerRef
    from pixiu_py.stores.ledger.tariff import Tariff

OK, FAILED, WRONG = 0, 1, 2

COLUMNS = ("principal", "model", "endpoint", "status", "day")
FORMATS = ("table", "csv", "json")
_LONGEST_NAME = 256
#: Flags of ``tariff set`` → key of a tariff, what it is.
_TARIFF_FLAGS = {
    "--min-prefix-tokens": ("min_prefix_tokens", "a shorter prefix is not cached"),
    "--write-5m": ("write_multiplier_5m", "of the input price, for tokens written for 5 minutes"),
    "--write-1h": ("write_multiplier_1h", "for an hour"),
    "--write-24h": ("write_multiplier_24h", "for a day"),
    "--read": ("read_multiplier", "for tokens that were read"),
    "--input-price": ("input_price", "of a million input tokens"),
    "--output-price": ("output_price", "of a million output tokens"),
}


class Flags(Protocol):
    """Adds flags that other commands have, too."""

    def default(self, name: str, fallback: str) -> str:
        """The default of a flag, which the environment may give."""

    def config(self, parser: argparse.ArgumentParser) -> None:
        """``-c``."""

    def plugins_dir(self, parser: argparse.ArgumentParser) -> None:
        """``--plugins-dir``."""


class WrongUsage(Exception):
    """The command line or the configuration does not fit. The message is for the user."""


def add_commands(commands: Any, flags: Flags, read: Callable[[argparse.Namespace], Any]) -> None:
    """Add the commands. ``read`` gives the registry and the configuration, or None after it has printed their errors."""
    usage = commands.add_parser("usage", help="sum up what requests used and cost")
    usage.set_defaults(command=_run, work=_usage, read=read)
    _common(usage, flags)
    usage.add_argument("--since", default="", metavar="WHEN", help="2026-01-31, 2026-01-31T12:00, or 24h, 7d ago")
    usage.add_argument("--until", default="", metavar="WHEN", help="up to and without; default: now")
    usage.add_argument("--by", type=_columns, default=(), metavar="COLUMN,…", help=f"of {', '.join(COLUMNS)}")

    promptcache = commands.add_parser("promptcache", help="keep the tariffs of cached prompts, and the owners of keys")
    things = promptcache.add_subparsers(required=True, metavar="WHAT")
    for parser in (*_add_tariff(things, read), *_add_key(things, read)):
        _common(parser, flags)


def _add_tariff(things: Any, read: Callable[[argparse.Namespace], Any]) -> list[argparse.ArgumentParser]:
    actions = things.add_parser("tariff", help="keep tariffs").add_subparsers(required=True, metavar="ACTION")
    list_ = actions.add_parser("list", help="the tariffs that hold")
    list_.set_defaults(command=_run, work=_list, read=read)
    list_.add_argument("--all", action="store_true", help="those that have ended, too")
    set_ = actions.add_parser("set", help="let a tariff hold from now on; what is not given stays as it was")
    set_.set_defaults(command=_run, work=_set, read=read)
    disable = actions.add_parser("disable", help="end a model's tariff now: it is cached no more")
    disable.set_defaults(command=_run, work=_disable, read=read)
    set_.add_argument("model", type=_name, metavar="MODEL")
    disable.add_argument("model", metavar="MODEL")
    for flag, (key, text) in _TARIFF_FLAGS.items():
        set_.add_argument(flag, dest=key, metavar="N", help=text)
    return [list_, set_, disable]


def _add_key(things: Any, read: Callable[[argparse.Namespace], Any]) -> list[argparse.ArgumentParser]:
    actions = things.add_parser("key", help="keep the owners of keys").add_subparsers(required=True, metavar="ACTION")
    list_ = actions.add_parser("list", help="the owners of keys, and the digests that stand for keys")
    list_.set_defaults(command=_run, work=_list_keys, read=read)
    add = actions.add_parser("add", help="give a key an owner; the key is read from standard input")
    add.set_defaults(command=_run, work=_add, read=read)
    add.add_argument("principal", type=_name, metavar="PRINCIPAL")
    remove = actions.add_parser("remove", help="forget a key")
    remove.set_defaults(command=_run, work=_remove, read=read)
    remove.add_argument("digest", metavar="DIGEST", help="as it is listed, or its first characters")
    return [list_, add, remove]


def _common(parser: argparse.ArgumentParser, flags: Flags) -> None:
    flags.config(parser)
    flags.plugins_dir(parser)
    parser.add_argument(
        "--ledger",
        default=flags.default("LEDGER", ""),
        metavar="PLACE",
        help="a SQLite file or postgresql://…, instead of the one that the configuration names",
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")


def _name(text: str) -> str:
    """A model or an owner, as the configuration takes them; a shell's variable that is not set is neither."""
    if not 0 < len(text) <= _LONGEST_NAME:
        raise argparse.ArgumentTypeError(f"expected a name of 1 to {_LONGEST_NAME} characters, got {len(text)}")
    return text


def _columns(text: str) -> tuple[str, ...]:
    columns = tuple(part.strip() for part in text.split(",") if part.strip())
    wrong = [column for column in columns if column not in COLUMNS]
    if wrong or len(set(columns)) < len(columns):
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(COLUMNS)}, each once, got {text!r}")
    return columns


# --- commands --------------------------------------------------------------------------------------------------------


def _run(options: argparse.Namespace) -> int:
    """Open the ledger, do the command's work, print what it gives."""
    import asyncio

    from pixiu_py.errors import StartError
    from pixiu_py.observability.log import configure
    from pixiu_py.stores.base import StoreError

    configure("critical", "console")  # what goes wrong is told below, in one line
    try:
        ledger, configured = _ledger(options)
        text = asyncio.run(_with(ledger, lambda: options.work(options, ledger, configured)))
    except WrongUsage as error:
        print(error, file=sys.stderr)
        return WRONG
    except (StartError, StoreError) as error:
        print(f"ledger: {error}", file=sys.stderr)
        return FAILED
    return put(text)


async def _with(ledger: Ledger, work: Callable[[], Awaitable[str]]) -> str:
    try:
        await ledger.start()
        return await work()
    finally:
        await ledger.close()


async def _usage(options: argparse.Namespace, ledger: Ledger, _configured: list[Tariff]) -> str:
    import time

    from pixiu_py.stores.ledger.base import UsageQuery
    from pixiu_py.stores.ledger.show import moment, shown, usage_rows

    try:
        since = moment(options.since, time.time()) if options.since else 0.0
        until = moment(options.until, time.time()) if options.until else None
    except ValueError as error:
        raise WrongUsage(str(error)) from None
    sums = await ledger.usage(UsageQuery(since, until, options.by))
    return shown(usage_rows(options.by, sums), options.format)


async def _list(options: argparse.Namespace, ledger: Ledger, configured: list[Tariff]) -> str:
    import time

    from pixiu_py.stores.ledger.show import shown, tariff_rows

    rows = await ledger.tariffs()
    return shown(tariff_rows(rows, configured, time.time(), everything=options.all), options.format)


async def _set(options: argparse.Namespace, ledger: Ledger, configured: list[Tariff]) -> str:
    import time

    from pixiu_py.stores.ledger.show import changed, shown, tariff_rows
    from pixiu_py.stores.ledger.tariff import Tariff, in_force

    now = time.time()
    given = {key: getattr(options, key) for key, _ in _TARIFF_FLAGS.values() if getattr(options, key) is not None}
    before = in_force(await ledger.tariffs(), options.model, now)
    of_file = next((tariff for tariff in configured if tariff.model == options.model), None)
    base = before.tariff if before is not None else of_file
    try:
        tariff = changed(base or Tariff(model=options.model), given)
    except ValueError as error:
        raise WrongUsage(str(error)) from None
    row = await ledger.set_tariff(tariff, now)
    return shown(tariff_rows([row], [], now, everything=True), options.format)


async def _disable(options: argparse.Namespace, ledger: Ledger, configured: list[Tariff]) -> str:
    import time

    now = time.time()
    if await ledger.disable_tariff(options.model, now):
        return f"{options.model}: its tariff has ended\n"
    if any(tariff.model == options.model for tariff in configured):
        raise WrongUsage(
            f"{options.model}: its tariff is in the configuration file, not in the ledger; remove it there"
        )
    raise WrongUsage(f"{options.model}: no tariff holds")


async def _list_keys(options: argparse.Namespace, ledger: Ledger, _configured: list[Tariff]) -> str:
    from pixiu_py.stores.ledger.show import key_rows, shown

    return shown(key_rows(await ledger.keys()), options.format)


async def _add(options: argparse.Namespace, ledger: Ledger, _configured: list[Tariff]) -> str:
    import time
    from getpass import getpass

    from pixiu_py.stores.ledger.keys import key_digest

    key = (getpass("key: ") if sys.stdin.isatty() else sys.stdin.readline()).strip()
    if not key:
        raise WrongUsage("no key on standard input")
    is_new = await ledger.add_key(key_digest(key), options.principal, time.time())
    return f"{key_digest(key).hex()}: {options.principal}{'' if is_new else ' (already)'}\n"


async def _remove(options: argparse.Namespace, ledger: Ledger, _configured: list[Tariff]) -> str:
    wanted = options.digest.strip().lower()
    found = [row for row in await ledger.keys() if wanted and row.digest.hex().startswith(wanted)]
    if len(found) != 1:
        raise WrongUsage(f"{options.digest}: {'several keys begin so' if found else 'no such key'}")
    await ledger.remove_key(found[0].digest)
    return f"{found[0].digest.hex()}: forgotten, was {found[0].principal}'s\n"


# --- which ledger ----------------------------------------------------------------------------------------------------


def _ledger(options: argparse.Namespace) -> tuple[Ledger, list[Tariff]]:
    """The ledger, not yet started, and the tariffs of the configuration. Raises ``WrongUsage``."""
    from pixiu_py.plugins import build_registry

    if options.ledger:
        return _named(options.ledger).make(build_registry(None)), []
    read = options.read(options)
    if read is None:
        raise WrongUsage("the configuration cannot be used; --ledger names a ledger without it")
    registry, loaded = read
    configs = list(_filter_configs(loaded.config))
    found: list[LedgerRef] = []
    for reference in (reference for config in configs for reference in _references(config)):
        if reference not in found:
            found.append(reference)
    if len(found) != 1:
        many = "several ledgers" if found else "no ledger"
        raise WrongUsage(f"{options.config}: {many} in the configuration; say which with --ledger")
    tariffs = {tariff.model: tariff for config in configs for tariff in getattr(config, "tariffs", [])}
    return found[0].make(registry), list(tariffs.values())


def _named(place: str) -> LedgerRef:
    """The ledger at a place. Raises ``WrongUsage``."""
    from pixiu_py.config.types import Secret
    from pixiu_py.stores.ledger.base import LedgerRef
    from pixiu_py.stores.ledger.postgres import PostgresLedgerConfig
    from pixiu_py.stores.ledger.sqlite import SqliteLedgerConfig

    if "://" in place:
        try:
            return LedgerRef(name="postgres", config=PostgresLedgerConfig(dsn=Secret(place)))
        except ValueError as error:
            raise WrongUsage(f"--ledger: {error}") from None
    if not Path(place).is_file():
        raise WrongUsage(f"--ledger: {place}: there is no such file")
    return LedgerRef(name="sqlite", config=SqliteLedgerConfig(path=place))


def _filter_configs(config: Any) -> Iterator[Any]:
    """The config of each HTTP filter."""
    for listener in config.static_resources.listeners:
        for network_filter in listener.filter_chains.filters:
            for http_filter in getattr(network_filter.config, "http_filters", []):
                yield http_filter.config


def _references(config: Any) -> Iterator[LedgerRef]:
    """The ledgers that a filter's config names."""
    from pixiu_py.stores.ledger.base import LedgerRef

    for name in getattr(config, "__struct_fields__", ()):
        value = getattr(config, name)
        if isinstance(value, LedgerRef):
            yield value
