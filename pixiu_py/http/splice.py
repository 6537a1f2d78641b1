"""Replace one value in a JSON text and leave every other byte as it is.

A parsed and re-serialised body would lose what the parser cannot hold: key order, big integers, number spelling, white
space. Pure.
"""

from __future__ import annotations

import re
from functools import lru_cache

import orjson

# Unrolled and possessive, so that a long string costs one step of the engine and not one for each character.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]', re.DOTALL)
_COLON = re.compile(rb"\s*:\s*")


def replace_string(body: bytes, key: str, value: str) -> bytes:
    """``body`` with every top-level string under ``key`` replaced by ``value``; the same body when there is none.

    ``body`` must be a JSON object, ``key`` plain ASCII letters; the body may spell it with escapes. A key that stands there
    twice is replaced twice: parsers differ in which one counts.
    """
    new = orjson.dumps(value)
    parts: list[bytes] = []
    copied = 0
    for start, end in _string_spans(body, key):
        parts += (body[copied:start], new)
        copied = end
    if not parts:
        return body
    parts.append(body[copied:])
    return b"".join(parts)


@lru_cache(maxsize=16)
def _spellings(key: str) -> re.Pattern[bytes]:
    """Matches a JSON string that means ``key``."""
    letters = (rf"(?:{letter}|\\u(?i:{ord(letter):04x}))" for letter in key)
    return re.compile(f'"{"".join(letters)}"'.encode("ascii"))


def _string_spans(body: bytes, key: str) -> list[tuple[int, int]]:
    """Where the string values of a top-level key are. Stops as soon as no further occurrence is possible."""
    quoted = b'"%b"' % key.encode("ascii")
    spelt = _spellings(key)
    last = body.rfind(quoted)
    if b"\\u00" in body:
        last = max((found.start() for found in spelt.finditer(body)), default=-1)
    spans = []
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
        elif depth == 1 and (text == quoted or spelt.fullmatch(text)):
            colon = _COLON.match(body, position)
            value = _TOKEN.match(body, colon.end()) if colon else None
            if value is not None and value[0][:1] == b'"':
                spans.append(value.span())
                position = value.end()
    return spans
