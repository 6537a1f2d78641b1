"""What a field's type asks of a document: pure questions about types, for the decoder."""

from __future__ import annotations

import types
from enum import Enum
from typing import Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from pixiu_py.config.node import Mapping, Node, Scalar, Sequence
from pixiu_py.config.types import Secret

UNIONS = (Union, types.UnionType)
LISTS = (list, tuple, set, frozenset)

_CONSTRAINTS = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length", "tz")
_NAMES = {Secret: "str", list: "a list", dict: "a mapping"}


def unwrap(kind: Any) -> tuple[Any, list[Meta]]:
    """The type inside ``Annotated``, and those of its ``Meta`` that say more than a description."""
    if get_origin(kind) is not Annotated:
        return kind, []
    base, *extras = get_args(kind)
    return base, [extra for extra in extras if isinstance(extra, Meta) and _constrains(extra)]


def annotate(kind: Any, metas: list[Meta]) -> Any:
    """``kind`` with ``metas`` put on it."""
    return Annotated.__class_getitem__((kind, *metas)) if metas else kind  # type: ignore[attr-defined]


def written_as(metas: list[Meta]) -> str:
    """``duration`` or ``size`` for the types that have a notation of their own, else an empty string."""
    return next((str(meta.extra["pixiu"]) for meta in metas if meta.extra and "pixiu" in meta.extra), "")


def is_struct(kind: Any) -> TypeGuard[type[msgspec.Struct]]:
    """True for the class of a config block."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def shape(kind: Any) -> type[Any] | None:
    """The kind of node that a type is written as; None when that depends."""
    base, _ = unwrap(kind)
    origin = get_origin(base) or base
    if base is Any or base is object or origin in UNIONS:
        return None
    if is_struct(origin) or origin is dict:
        return Mapping
    return Sequence if origin in LISTS else Scalar


def fits(node: Node, kind: Any) -> bool:
    """True when ``node`` might be a value of ``kind``, going by its shape alone."""
    expected = shape(kind)
    return expected is None or isinstance(node, expected)


def choices(kind: Any) -> list[str]:
    """The texts that a ``Literal`` or an enum allows; nothing for other types."""
    if get_origin(kind) is Literal:
        return [str(value) for value in get_args(kind) if value != ""]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [str(member.value) for member in kind]
    return []


def listed(words: list[str]) -> str:
    """Alternatives in a sentence."""
    return " or ".join(words) if len(words) < 3 else f"one of {', '.join(words)}"


def describe(kind: Any) -> str:
    """A type in a few words, for messages."""
    base, metas = unwrap(kind)
    origin = get_origin(base) or base
    if written_as(metas):
        return f"a {written_as(metas)}"
    if origin in UNIONS:
        return " or ".join(dict.fromkeys(describe(arm) for arm in get_args(base) if arm is not types.NoneType))
    if choices(base):
        return listed(choices(base))
    if shape(base) is not Scalar:
        return "a mapping" if shape(base) is Mapping else "a list"
    return _NAMES.get(origin, getattr(origin, "__name__", str(origin)))


def _constrains(meta: Meta) -> bool:
    return bool(meta.extra) or any(getattr(meta, name) is not None for name in _CONSTRAINTS)
