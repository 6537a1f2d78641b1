"""Where values are in a JSON text; taking members and elements away leaves JSON, and nothing else changes."""

from __future__ import annotations

import json

import orjson
import pytest

from pixiu_py.http.json_spans import Edit, Shape, apply, end_of, find, without

TOP = Shape("top")
NESTED = Shape("top", {"list": Shape("list", each=Shape("item", {"deep": Shape("deep")}))})


def spelt(text: bytes, shape: Shape) -> list[tuple[str, tuple[int, ...], bytes]]:
    return [(found.tag, found.place, text[found.start : found.end]) for found in find(text, shape)]


def dropped(text: bytes, key: str) -> bytes:
    (top,) = find(text, TOP)
    return apply(text, without(top, [n for n, item in enumerate(top.items) if item.key == key]))


def test_members_have_their_keys_and_spans() -> None:
    text = b' { "a" : 1 , "b":[1,{"a":2}] ,"c":"x,}" } '
    (top,) = find(text, TOP)
    assert [(item.key, text[item.value : item.end]) for item in top.items] == [
        ("a", b"1"),
        ("b", b'[1,{"a":2}]'),
        ("c", b'"x,}"'),
    ]


def test_elements_have_their_places() -> None:
    text = b'{"list":[1, {"deep":{}} ,[2],"s", {"deep":{"x":[]}}]}'
    assert spelt(text, NESTED) == [
        ("deep", (1,), b"{}"),
        ("item", (1,), b'{"deep":{}}'),
        ("item", (2,), b"[2]"),
        ("deep", (4,), b'{"x":[]}'),
        ("item", (4,), b'{"deep":{"x":[]}}'),
        ("list", (), b'[1, {"deep":{}} ,[2],"s", {"deep":{"x":[]}}]'),
        ("top", (), text),
    ]
    found = find(text, NESTED)[-2]
    assert [text[item.start : item.end] for item in found.items] == [
        b"1",
        b'{"deep":{}}',
        b"[2]",
        b'"s"',
        b'{"deep":{"x":[]}}',
    ]


def test_keys_may_be_spelt_with_escapes() -> None:
    (top,) = find(rb'{"\u0061":1,"\"":2}', TOP)
    assert [item.key for item in top.items] == ["a", '"']


def test_strings_that_look_like_structure_are_strings() -> None:
    assert spelt(rb'{"list":["[{\"deep\":{}}]\\"]}', NESTED)[0][0] == "list"


def test_depth_is_no_limit() -> None:
    """What nobody asks about is stepped over, however deep."""
    deep = b'{"x":' * 100_000 + b"1" + b"}" * 100_000
    text = b'{"a":%b,"list":[]}' % deep
    assert [found.tag for found in find(text, NESTED)] == ["list", "top"]
    assert end_of(deep, 0) == len(deep)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"z":1}', b"{}"),
        (b'{ "z":1 }', b"{  }"),
        (b'{"z":1,"a":2}', b'{"a":2}'),
        (b'{"a":2 , "z":1}', b'{"a":2}'),
        (b'{"a":2, "z":{"a":1}, "b":3}', b'{"a":2, "b":3}'),
        (b'{"z":1,"z":2}', b"{}"),
        (b'{"a":1,"z":1,"z":2}', b'{"a":1}'),
        (b'{"z":1,"a":1,"z":2}', b'{"a":1}'),
        (b'{"z":1,"z":2,"a":1,"z":3,"b":2,"z":4}', b'{"a":1,"b":2}'),
    ],
)
def test_taking_members_away(before: bytes, after: bytes) -> None:
    assert dropped(before, "z") == after
    assert "z" not in json.loads(after)


def test_a_text_that_is_no_json_gives_what_was_found() -> None:
    for text in (b"", b"1", b"}", b'{"a"', b'{"a":[', b'{"a', b"[,,]", b'{"list":[}]'):
        find(text, NESTED)


def test_edits_inside_of_what_is_taken_away_do_nothing() -> None:
    assert apply(b"abcdef", [Edit(2, 3, b"X"), Edit(1, 4), Edit(5, 5, b"Y")]) == b"aeYf"
    assert apply(b"abc", []) == b"abc"


def test_it_agrees_with_a_parser() -> None:
    document = {
        "list": [{"deep": {"k": [1, {"a": None}]}, "o": 1}, [], {}, "x", 1.5, True],
        "m": {"list": [{"deep": {}}]},
    }
    for option in (None, orjson.OPT_INDENT_2):
        text = orjson.dumps(document, option=option)
        for found in find(text, NESTED):
            parsed = orjson.loads(text[found.start : found.end])
            values = [orjson.loads(text[item.value : item.end]) for item in found.items]
            assert values == (list(parsed.values()) if isinstance(parsed, dict) else parsed)


def test_an_object_may_be_wanted_only_where_it_has_a_key() -> None:
    """It is stepped over in one go, unless it holds other containers, or what might be that key in disguise."""
    shape = Shape(each=Shape("item", needs=b"mark"))
    text = rb'[{"a":"}\"{"}, {"mark":1}, {"a":1}, {"a":{}}, {"a":"mark"}, {"\u006dark":1}, [], {}, {"a":1,"b":null}]'
    assert [found.place for found in find(text, shape)] == [(1,), (3,), (4,), (5,), (6,)]
    assert [found.place for found in find(b'[{"a":1}, {"mark":1} , {"b":"x"}]', shape)] == [(1,)]
