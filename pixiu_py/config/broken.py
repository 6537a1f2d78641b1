"""What stands in a config where a value could not be decoded, so that the rest of it can still be checked."""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec


class Broken(Enum):
    """Stands where a value could not be decoded. Only the checker sees it: with a problem there is no config."""

    VALUE = "broken"


BROKEN: Any = Broken.VALUE


def whole(value: object) -> bool:
    """True when this and everything in it could be decoded."""
    if isinstance(value, msgspec.Struct):
        return all(whole(getattr(value, name)) for name in value.__struct_fields__)
    if isinstance(value, list):
        return all(map(whole, value))
    if isinstance(value, dict):
        return all(map(whole, value.values()))
    return value is not BROKEN
