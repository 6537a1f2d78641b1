"""Replace one value in a JSON text and leave every other byte as it is.

A parsed and re-serialised body would lose what the parser cannot hold: key order, big integers, number spelling, white
space. Pure.
"""

from __future__ import annotations

import re

import orjson

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)
_COLON = re.compile(rb"\s*:\s*")


def replace_string(body: bytes, key: str, value: str) -> bytes:
    """``body`` with every top-level string under ``key`` replaced by ``value``; the same body when there is none.

    ``body`` must be a JSON object. A key that stands there twice is replaced twice: parsers differ in which one counts.
    """
    new = orjson.dumps(value)
    parts: list[bytes] = []
    copied = 0
    for start, end in _string_spans(body, orjson.dumps(key)):
        parts += (body[copied:start], new)
        copied = end
    if not parts:
        return body
    parts.append(body[copied:])
    return b"".join(parts)


def _string_spans(body: bytes, quoted_key: bytes) -> list[tuple[int, int]]:
    """Where the string values of a top-level key are. Stops as soon as no further occurrence is possible."""
    spans = []
    last = body.rfind(quoted_key)
    depth = 0
    position = 0
    while position <= last:
        token = _TOKEN.search(body, position)
        if token is None:
            break
        position = token.end()
        text = token[0]
        if text in b"{[":
            depth += 1
        elif text in b"}]":
            depth -= 1
        elif depth == 1 and text == quoted_key:
            colon = _COLON.match(body, position)
            value = _TOKEN.match(body, colon.end()) if colon else None
            if value is not None and value[0][:1] == b'"':
                spans.append(value.span())
                position = value.end()
    return spans
