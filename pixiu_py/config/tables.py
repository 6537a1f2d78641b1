"""The tables of config keys in the documentation, made from the config models, so that they cannot grow stale.

A page under ``docs/filters`` whose title is a kind has its table between ``<!-- keys -->`` and ``<!-- /keys -->``.
``python -m pixiu_py.config.tables docs`` writes the tables of every page below a folder anew.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Meta, Struct
from msgspec.structs import FieldInfo

from pixiu_py.config.shapes import UNIONS, describe, is_struct, unwrap, written_as
from pixiu_py.config.types import Secret
from pixiu_py.registry import Family, Registry

_TABLE = re.compile(r"(<!-- keys -->\n).*?(<!-- /keys -->)", re.DOTALL)
_WORD = re.compile(r"\w+")
_PLAIN = {"mapping": "block", "str": "text", "int": "number", "float": "number", "bool": "true or false"}
_TITLE = re.compile(r"^# `?([\w.]+)`?$", re.MULTILINE)
_UNITS = (("h", 3600.0), ("m", 60.0), ("s", 1.0), ("ms", 0.001))
_SIZES = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


class Row(NamedTuple):
    """One key."""

    key: str
    type: str
    default: str
    description: str


def rows(model: type[Struct], prefix: str = "") -> Iterator[Row]:
    """The keys of a config model, those of the blocks inside it after their own."""
    for info in msgspec.structs.fields(model):
        key = prefix + info.encode_name
        block, path = _block(info.type)
        yield Row(key, _type(info.type), _default(info), _description(info.type))
        if block is not None:
            yield from rows(block, f"{key}{path}.")


def table(model: type[Struct]) -> str:
    """The keys of a config model as a Markdown table; a sentence when there are none."""
    found = list(rows(model))
    if not found:
        return "No keys.\n"
    lines = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    lines += [f"| `{row.key}` | {row.type} | {row.default} | {_cell(row.description)} |" for row in found]
    return "\n".join(lines) + "\n"


def regenerate(page: str, registry: Registry) -> str:
    """``page`` with the table of its kind; the same page when it has no markers or its title is no kind."""
    title = _TITLE.search(page)
    entry = registry.find(Family.HTTP_FILTER, title[1]) if title else None
    if entry is None:
        return page
    return _TABLE.sub(lambda match: match[1] + table(entry.cls.Config) + match[2], page)


def _block(kind: Any) -> tuple[type[Struct] | None, str]:
    """The struct inside a type, and how a path goes on from the key to the struct's own keys."""
    base, _ = unwrap(kind)
    if is_struct(base):
        return base, ""
    arguments = get_args(base)
    if get_origin(base) in UNIONS:
        return next(((block, path) for block, path in map(_block, arguments) if block), (None, ""))
    if get_origin(base) in (list, dict):
        block, path = _block(arguments[-1])
        return block, ("[]" if get_origin(base) is list else ".*") + path
    return None, ""


def _type(kind: Any) -> str:
    base, metas = unwrap(kind)
    if get_origin(base) in (list, dict) and not written_as(metas):
        inner = _type(get_args(base)[-1])
        return f"list of {inner}" if get_origin(base) is list else f"map of {inner}"
    words = _WORD.sub(lambda match: _PLAIN.get(match[0], match[0]), describe(kind).removeprefix("a "))
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
    return text.replace("|", "\\|").replace("*", "\\*")


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
