"""The tables of config keys in the documentation, made from the config models, so that they cannot grow stale.

A page whose title is the kind of an HTTP filter has its table between ``<!-- keys -->`` and ``<!-- /keys -->``. Any page may
have the table of a block of the file or of a plugin, by the name of its class (``<!-- keys Cluster -->``), or of a retry
policy, by its kind. ``python -m pixiu_py.config.tables docs`` writes the tables of every page below a folder anew.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, NamedTuple, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Meta, Struct
from msgspec.structs import FieldInfo

from pixiu_py.config import model as blocks
from pixiu_py.config.shapes import UNIONS, describe, is_struct, unwrap, written_as
from pixiu_py.config.types import KindRef, PluginRef, Secret
from pixiu_py.registry import Family, Registry

_TABLE = re.compile(r"(<!-- keys(?: (\w+))? -->\n).*?(<!-- /keys -->)", re.DOTALL)
_WORD = re.compile(r"\w+")
_PLAIN = {
    "mapping": "block",
    "str": "text",
    "int": "number",
    "float": "number",
    "Decimal": "number",
    "bool": "true or false",
}
_TITLE = re.compile(r"^# `?([\w.]+)`?$", re.MULTILINE)
_UNITS = (("h", 3600.0), ("m", 60.0), ("s", 1.0), ("ms", 0.001))
_SIZES = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


class Row(NamedTuple):
    """One key."""

    key: str
    type: str
    default: str
    description: str


def rows(model: type[Struct], prefix: str = "", *, inside: bool = True) -> Iterator[Row]:
    """The keys of a config model. ``inside``: those of the blocks inside it, too, after their own."""
    for info in msgspec.structs.fields(model):
        key = prefix + info.encode_name
        block, path = _block(info.type)
        yield Row(key, _type(info.type), _default(info), _description(info.type))
        for own in _own_keys(info.type):
            name = f"{key}.{own.encode_name}"
            yield Row(name, _type(own.type), _default(own), _description(own.type))
        if block is not None and inside:
            yield from rows(block, f"{key}{path}.")


def table(model: type[Struct], *, inside: bool = True) -> str:
    """The keys of a config model as a Markdown table; a sentence when there are none. ``inside``: see ``rows``."""
    found = list(rows(model, inside=inside))
    if not found:
        return "No keys.\n"
    lines = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    lines += [f"| `{row.key}` | {row.type} | {row.default} | {_cell(row.description)} |" for row in found]
    return "\n".join(lines) + "\n"


def regenerate(page: str, registry: Registry) -> str:
    """``page`` with fresh tables; a table whose page or marker names nothing known stays as it is."""
    title = _TITLE.search(page)

    def fresh(match: re.Match[str]) -> str:
        name = match[2]
        model = _named(name, registry) if name else _filter(title[1] if title else "", registry)
        inside = not (name and hasattr(blocks, name))  # blocks of the file have tables of their own
        return match[0] if model is None else match[1] + table(model, inside=inside) + match[3]

    return _TABLE.sub(fresh, page)


def _filter(kind: str, registry: Registry) -> type[Struct] | None:
    """The config model of an HTTP filter."""
    entry = registry.find(Family.HTTP_FILTER, kind)
    return entry.cls.Config if entry else None


def _named(name: str, registry: Registry) -> type[Struct] | None:
    """The block of the file or the config model of a plugin with that class name, or that of a retry policy."""
    block = getattr(blocks, name, None)
    if is_struct(block):
        return block
    entry = registry.find(Family.RETRY_POLICY, name)
    if entry is not None:
        config: type[Struct] = entry.cls.Config
        return config
    configs: Iterator[type[Struct]] = (getattr(entry.cls, "Config", Struct) for entry in registry)
    return next((config for config in configs if config.__name__ == name), None)


def _block(kind: Any) -> tuple[type[Struct] | None, str]:
    """The struct inside a type, and how a path goes on from the key to the struct's own keys. None for a plugin's."""
    base, _ = unwrap(kind)
    if is_struct(base):
        return (None if issubclass(base, PluginRef) else base), ""
    arguments = get_args(base)
    if get_origin(base) in UNIONS:
        return next(((block, path) for block, path in map(_block, arguments) if block), (None, ""))
    if get_origin(base) in (list, dict):
        block, path = _block(arguments[-1])
        return block, ("[]" if get_origin(base) is list else ".*") + path
    return None, ""


def _own_keys(kind: Any) -> list[FieldInfo]:
    """The keys that a reference has beside its ``type``, whatever the kind."""
    base, _ = unwrap(kind)
    if not is_struct(base) or not issubclass(base, KindRef):
        return []
    return [info for info in msgspec.structs.fields(base) if info.name not in ("name", "config")]


def _type(kind: Any) -> str:
    base, metas = unwrap(kind)
    if base is Any:
        return "anything"
    if is_struct(base) and issubclass(base, PluginRef):
        return "block with `type`" if issubclass(base, KindRef) else "plugin"
    if get_origin(base) in UNIONS and len(arms := set(get_args(base)) - {NoneType}) == 1:
        return _type(arms.pop())
    if get_origin(base) in (list, dict) and not written_as(metas):
        inner = _type(get_args(base)[-1])
        return f"list of {inner}" if get_origin(base) is list else f"map of {inner}"
    words = _WORD.sub(
        lambda match: _PLAIN.get(match[0], match[0]), describe(kind).removeprefix("a ").replace(" a ", " ")
    )
    return words + _limits(metas)


def _limits(metas: list[Meta]) -> str:
    """What a number may be, if that is restricted."""
    low = next((meta.ge for meta in metas if meta.ge is not None), None)
    high = next((meta.le for meta in metas if meta.le is not None), None)
    if low is not None and high is not None:
        return f", {low} to {high}"
    return f", at least {low}" if low else ""


def _default(info: FieldInfo) -> str:
    if info.required:
        return "required"
    value = info.default if info.default is not NODEFAULT else info.default_factory()
    if isinstance(value, PluginRef):
        return f"`{value.name}`"
    if value is None or value in ("", [], {}) or isinstance(value, (Struct, Secret)):
        return ""
    _, metas = unwrap(info.type)
    notation = written_as(metas)
    if notation == "duration":
        return f"`{_in_units(value, _UNITS) or '0s'}`"
    if notation == "size":
        return f"`{_in_units(value, _SIZES) or value}`"
    if isinstance(value, list):
        return ", ".join(f"`{item}`" for item in value)
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _in_units(value: float, units: Sequence[tuple[str, float]]) -> str:
    """``value`` in the largest unit that gives a whole number; empty if there is none."""
    for unit, size in units:
        count = round(value / size, 9)
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    return ""


def _description(kind: Any) -> str:
    if get_origin(kind) is not Annotated:
        return ""
    texts = [extra.description for extra in get_args(kind)[1:] if isinstance(extra, Meta) and extra.description]
    return texts[-1] if texts else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "\\<")


def main(arguments: Sequence[str]) -> int:
    """Write the tables of every page below the given folder anew."""
    from pixiu_py.plugins import load_builtins

    if len(arguments) != 1:
        print("usage: python -m pixiu_py.config.tables <folder>", file=sys.stderr)
        return 2
    registry = Registry()
    load_builtins(registry)
    for path in sorted(Path(arguments[0]).rglob("*.md")):
        page = path.read_text(encoding="utf-8")
        fresh = regenerate(page, registry)
        if fresh != page:
            path.write_text(fresh, encoding="utf-8")
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
