"""Invariant: of any JSON object only the strings under the key change, and every other byte stays."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pixiu_py.http.splice import replace_string

space = st.text(" \t\r\n", max_size=2)
nasty = st.sampled_from(
    ["model", '"model":"m"', '{"model":"m"}', "\\", '"', "\\u006dodel", "é", "\U0001f600", "{[", "]}"]
)
strings = st.one_of(st.text(max_size=5), nasty, st.tuples(nasty, nasty).map("".join))
leaves = st.one_of(strings, st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none())
keys = st.one_of(st.just("model"), strings)


def deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3))


values = st.recursive(leaves, deeper, max_leaves=8)


@st.composite
def spelt(draw: st.DrawFn, text: str) -> str:
    """One of the many ways to write a JSON string."""
    plain = json.dumps(text, ensure_ascii=draw(st.booleans()))
    if text == "model" and draw(st.booleans()):
        at = draw(st.integers(0, 4))
        code = f"{ord(text[at]):04x}" if draw(st.booleans()) else f"{ord(text[at]):04X}"
        return f'"{text[:at]}\\u{code}{text[at + 1 :]}"'
    return plain


@st.composite
def documents(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """An object, with repeated keys and odd white space; before and after."""
    texts = ["", ""]
    for key, value in draw(st.lists(st.tuples(keys, values), max_size=6)):
        comma = "," if texts[0] else ""
        before = [draw(space), draw(spelt(key)), draw(space), ":", draw(space)]
        old = json.dumps(value, ensure_ascii=draw(st.booleans()))
        new = '"n\\"ew"' if key == "model" and isinstance(value, str) else old
        after = draw(space)
        texts = [text + comma + "".join(before) + own + after for text, own in zip(texts, (old, new), strict=True)]
    around = draw(space)
    first, second = (f"{around}{{{text}}}{around}".encode("utf-8", "surrogatepass") for text in texts)
    return first, second


@settings(deadline=None)
@given(documents())
def test_only_strings_under_the_key_change(document: tuple[bytes, bytes]) -> None:
    before, after = document
    assert replace_string(before, "model", 'n"ew') == after


@settings(deadline=None)
@given(st.binary(max_size=60), st.text('model"\\{}[]: ,u0', max_size=60))
def test_what_is_no_json_does_no_harm(noise: bytes, text: str) -> None:
    """Whatever comes in, something comes out."""
    replace_string(noise, "model", "new")
    replace_string(text.encode(), "model", "new")
