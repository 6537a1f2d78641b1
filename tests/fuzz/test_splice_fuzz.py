"""Invariant: of any JSON object only the members under the key change, and every other byte stays."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pixiu_py.http.splice import may_have_key, put_string, remove_key, replace_string

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
    for body in (noise, text.encode()):
        replace_string(body, "model", "new")
        put_string(body, "model", "new")
        remove_key(body, "model")


def members(body: bytes) -> list[tuple[str, Any]]:
    """The members of an object, repeated ones too, numbers as they are written."""
    text = body.decode("utf-8", "surrogatepass")
    found: list[tuple[str, Any]] = json.loads(text, object_pairs_hook=list, parse_int=str, parse_float=str)
    return found


@settings(deadline=None)
@given(documents())
def test_nothing_but_the_key_is_removed(document: tuple[bytes, bytes]) -> None:
    """Every other member is there, in its place."""
    before = document[0]
    rest = [(key, value) for key, value in members(before) if key != "model"]
    assert members(remove_key(before, "model")) == rest
    assert may_have_key(before, "model") or len(rest) == len(members(before))


@settings(deadline=None)
@given(documents())
def test_nothing_but_the_value_is_put_in(document: tuple[bytes, bytes]) -> None:
    """In its place where it was, in front where it was not."""
    old = members(document[0])
    new = [(key, "new" if key == "model" else value) for key, value in old]
    if not any(key == "model" for key, _ in old):
        new.insert(0, ("model", "new"))
    assert members(put_string(document[0], "model", "new")) == new
