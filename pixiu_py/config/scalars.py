"""From one written value to a typed one: numbers, texts, booleans, choices, durations, sizes, secrets."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from msgspec import Meta

from pixiu_py.config.node import Node, Scalar, noun
from pixiu_py.config.shapes import annotate, choices, describe, listed, written_as
from pixiu_py.config.types import Secret, parse_duration, parse_size
from pixiu_py.errors import PixiuError
from pixiu_py.registry import did_you_mean

_NOTATIONS = {"duration": parse_duration, "size": parse_size}


class RefusedError(PixiuError):
    """A value does not fit. The message is for the user and never shows what came from outside the file."""


def decode_scalar(node: Scalar, kind: Any, metas: list[Meta]) -> Any:
    """The value of ``node`` as ``kind``, within the constraints of ``metas``. Raises ``RefusedError``.

    Numbers and booleans may be written as text. Text may not be written as a number, except where it came from the
    environment or a file: there the author does not see what it looks like.
    """
    try:
        if kind is Secret:
            return Secret(_text(node, kind))
        if kind is str:
            return _convert(node, _text(node, kind), kind, metas)
        return _convert(node, _value(node, kind, metas), kind, metas)
    except RefusedError as error:
        if not node.source:
            raise
        expected = str(error).partition(", got ")[0]
        raise RefusedError(f"{expected}, got {shown(node)}") from None


def shown(node: Node) -> str:
    """A value for a message: a number as it is, of text only that it is one, of what came from outside only whence."""
    if not isinstance(node, Scalar):
        return noun(node)
    if node.source:
        return f"the value from {node.source}"
    return node.text if isinstance(node.value, int | float) else noun(node)


def readable(error: msgspec.ValidationError) -> str:
    """msgspec's message without what it got, in YAML's words."""
    text = str(error).partition(" - at ")[0].partition(", got ")[0]
    return text.replace("`array`", "a list").replace("`object`", "a mapping").replace("`", "")


def _text(node: Scalar, kind: Any) -> str:
    text = node.text if node.source else node.value
    if isinstance(text, str):
        return text
    hint = "; write it in quotes" if text is not None else ""
    raise RefusedError(f"Expected {describe(kind)}, got {shown(node)}{hint}")


def _value(node: Scalar, kind: Any, metas: list[Meta]) -> Any:
    notation = written_as(metas)
    if notation in _NOTATIONS:
        try:
            return _NOTATIONS[notation](node.value)
        except ValueError as error:
            raise RefusedError(str(error)) from None
    if kind is bool and not isinstance(node.value, bool | str):  # msgspec would take 1 and 0
        raise RefusedError(f"Expected bool, got {shown(node)}")
    return node.value


def _convert(node: Scalar, value: Any, kind: Any, metas: list[Meta]) -> Any:
    try:
        converted = msgspec.convert(value, annotate(kind, metas), strict=False)
    except msgspec.ValidationError as error:
        known = choices(kind)
        if written_as(metas) == "duration":
            raise RefusedError(f"{readable(error).replace('float', 'seconds')}, got {node.text}") from None
        if not known:
            raise RefusedError(f"{readable(error)}, got {shown(node)}") from None
        raise RefusedError(f"Expected {listed(known)}, got {value!r}{did_you_mean(node.text, known)}") from None
    if isinstance(converted, float) and not math.isfinite(converted):
        raise RefusedError(f"Expected a finite number, got {shown(node)}")
    return converted
