"""Change single members of a JSON text and leave every other byte as it is.

A parsed and re-serialised body would lose what the parser cannot hold: key order, big integers, number spelling, white
space. Pure. A body must be a JSON object, a key plain ASCII letters and underscores; the body may spell it with escapes. A
key that stands there several times is changed each time: parsers differ in which one counts.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import orjson

# Unrolled and possessive, so that a long string costs one step of the engine and not one for each character.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]', re.DOTALL)
_COLON = re.compile(rb"\s*:\s*")
_PLAIN = re.compile(rb'[^\s,:{}\[\]"]+')
_COMMA = re.compile(rb"\s*,\s*")
_OPENING = re.compile(rb"\s*\{")
_EMPTY = re.compile(rb"\s*\}")


class _Member(NamedTuple):
    """Where a member of the outermost object is: its key begins, its value begins, its value ends."""

    start: int
    value: int
    end: int


def replace_string(body: bytes, key: str, value: str) -> bytes:
    """``body`` with every top-level string under ``key`` replaced by ``value``; the same body when there is none."""
    quick = _with_leading(body, key, value)
    if quick is not None:
        return quick
    members = [member for member in _members(body, key) if body[member.value] == _QUOTE]
    return _replaced(body, members, value)


def put_string(body: bytes, key: str, value: str) -> bytes:
    """``body`` with ``value`` under ``key``, whatever was there; where nothing was, as the first member."""
    quick = _with_leading(body, key, value)
    if quick is not None:
        return quick
    members = _members(body, key)
    if members:
        return _replaced(body, members, value)
    opening = _OPENING.match(body)
    if opening is None:
        return body
    at = opening.end()
    comma = b"" if _EMPTY.match(body, at) else b","
    return b'%b"%b":%b%b%b' % (body[:at], key.encode("ascii"), orjson.dumps(value), comma, body[at:])


def remove_key(body: bytes, key: str) -> bytes:
    """``body`` without its top-level members under ``key``; the same body when there are none."""
    parts: list[bytes] = []
    kept = 0
    for member in _members(body, key):
        start, end = member.start, member.end
        before = _comma_before(body, kept, start)
        if before is not None:
            start = before
        elif (after := _COMMA.match(body, end)) is not None:
            end = after.end()
        parts.append(body[kept:start])
        kept = end
    if not kept:
        return body
    parts.append(body[kept:])
    return b"".join(parts)


def may_have_key(body: bytes, key: str) -> bool:
    """False when ``key`` is certainly not there: a cheap look, for bodies that nobody has parsed."""
    # ``in`` and ``find`` first try whether the key is a number, and fail, which takes longer than to look for it.
    return bool(body.partition(key.encode("ascii"))[1]) or _may_spell(body)


def _may_spell(body: bytes) -> bool:
    """True when a key could be written with escapes. To look for the one byte first is several times as fast."""
    return _BACKSLASH in body and b"\\u00" in body


_QUOTE = ord('"')
_BACKSLASH = ord("\\")


def _with_leading(body: bytes, key: str, value: str) -> bytes | None:
    """``body`` with another first member, if that is a string under ``key``, and no other can be; None: look closer."""
    begins, quoted = _leading(key)
    pieces = body.split(b'"', 4)
    if len(pieces) < 5:
        return None
    opening, name, colon, old, rest = pieces
    begin = begins.get((opening, name, colon))
    if begin is None or _BACKSLASH in old or rest.partition(quoted)[1] or _may_spell(rest):
        return None
    return begin + _literal(value) + rest


@lru_cache(maxsize=1024)
def _literal(value: str) -> bytes:
    """A string as JSON. Remembered: models are few."""
    return orjson.dumps(value)


def _replaced(body: bytes, members: list[_Member], value: str) -> bytes:
    if not members:
        return body
    new = orjson.dumps(value)
    parts: list[bytes] = []
    copied = 0
    for _, start, end in members:
        parts += (body[copied:start], new)
        copied = end
    parts.append(body[copied:])
    return b"".join(parts)


def _comma_before(body: bytes, start: int, end: int) -> int | None:
    """Where the comma is that stands between ``start`` and ``end``, with white space at most behind it."""
    gap = body.rfind(b",", start, end)
    return gap if gap >= 0 and not body[gap + 1 : end].strip() else None


@lru_cache(maxsize=16)
def _spellings(key: str) -> re.Pattern[bytes]:
    """Matches a JSON string that means ``key``."""
    letters = (rf"(?:{letter}|\\u(?i:{ord(letter):04x}))" for letter in key)
    return re.compile(f'"{"".join(letters)}"'.encode("ascii"))


@lru_cache(maxsize=16)
def _leading(key: str) -> tuple[dict[tuple[bytes, ...], bytes], bytes]:
    """How an object begins whose first member stands under this key, as libraries write it: by its pieces between quotation
    marks, if the member is a string; and the key quoted.
    """
    name = key.encode("ascii")
    return {(b"{", name, colon): b'{"%b"%b' % (name, colon) for colon in (b":", b": ")}, b'"%b"' % name


def _members(body: bytes, key: str) -> list[_Member]:
    """The top-level members of a key. Stops as soon as no further occurrence is possible."""
    quoted = b'"%b"' % key.encode("ascii")
    spelt = _spellings(key)
    last = body.rfind(quoted)
    if _may_spell(body):
        last = max((found.start() for found in spelt.finditer(body)), default=-1)
    found = []
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
            end = _value_end(body, colon.end()) if colon else None
            if colon is not None and end is not None:
                found.append(_Member(token.start(), colon.end(), end))
                position = end
    return found


def _value_end(body: bytes, start: int) -> int | None:
    """Where the value ends that begins at ``start``; None if there is none."""
    token = _TOKEN.match(body, start) or _PLAIN.match(body, start)
    if token is None or token[0] in b"}]":
        return None
    if token[0] not in b"{[":
        return token.end()
    depth = 1
    while depth:
        token = _TOKEN.search(body, token.end())
        if token is None:
            return None
        if token[0] in b"{[":
            depth += 1
        elif token[0] in b"}]":
            depth -= 1
    return token.end()
