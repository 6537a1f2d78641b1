"""One spelling for each JSON value: keys in the order of their bytes, no white space, no needless escapes. Pure."""

from __future__ import annotations

from typing import Any

import orjson


def canonical(value: Any) -> bytes:
    """The canonical bytes of a value that was read with orjson, however deep it is."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # nested deeper than it can write, though it could read it
        return canonical_deep(value)


def canonical_deep(value: Any) -> bytes:
    """The same without recursion: what is left to write is a stack, of bytes and of values."""
    written: list[bytes] = []
    left: list[Any] = [value]
    while left:
        thing = left.pop()
        if type(thing) is bytes:
            written.append(thing)
        elif isinstance(thing, dict):
            left.append(b"}")
            for position, key in enumerate(sorted(thing, reverse=True)):
                left += (thing[key], b":", orjson.dumps(key))
                if position < len(thing) - 1:
                    left.append(b",")
            left.append(b"{")
        elif isinstance(thing, list):
            left.append(b"]")
            for position, item in enumerate(reversed(thing)):
                left.append(item)
                if position < len(thing) - 1:
                    left.append(b",")
            left.append(b"[")
        else:
            written.append(orjson.dumps(thing))
    return b"".join(written)
