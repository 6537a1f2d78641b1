"""Rules of the splice: one value changes, every other byte stays; whatever a JSON text may hold."""

from __future__ import annotations

import re

import pytest

from pixiu_py.http import splice
from pixiu_py.http.splice import may_have_key, put_string, remove_key, replace_string


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (b'{"model":"m"}', b'{"model":"new"}'),
        (b' { "model" \t:\n "m" , "x": 1e400 }\r\n', b' { "model" \t:\n "new" , "x": 1e400 }\r\n'),
        (b'{"seed":9007199254740993,"model":"m","t":1.0}', b'{"seed":9007199254740993,"model":"new","t":1.0}'),
        (b'{"model":"a","model":"b"}', b'{"model":"new","model":"new"}'),
        (b'{"x":{"model":"m"},"model":"m"}', b'{"x":{"model":"m"},"model":"new"}'),
        (b'{"x":[{"model":"m"}],"model":"m"}', b'{"x":[{"model":"m"}],"model":"new"}'),
        (b'{"model":{"model":"m"},"model":"m"}', b'{"model":{"model":"m"},"model":"new"}'),
        (b'{"x":"\\"model\\":\\"m\\"","model":"m"}', b'{"x":"\\"model\\":\\"m\\"","model":"new"}'),
        (b'{"x":"{[","model":"m"}', b'{"x":"{[","model":"new"}'),
        (b'{"x":"\\\\","model":"m"}', b'{"x":"\\\\","model":"new"}'),
        (b'{"model":"model"}', b'{"model":"new"}'),
        (b'{"x":"model","model":"m"}', b'{"x":"model","model":"new"}'),
        (b'{"model":"a\\"b\\u00e9\\\\"}', b'{"model":"new"}'),
        (b'{"model":""}', b'{"model":"new"}'),
        (b'{"m\\u006Fdel":"m"}', b'{"m\\u006Fdel":"new"}'),
        (b'{"model":"a","\\u006d\\u006fdel":"b"}', b'{"model":"new","\\u006d\\u006fdel":"new"}'),
        (b'{"model": "a","x":"\\"model"}', b'{"model": "new","x":"\\"model"}'),
        (b'{"model":"a\\"b","x":1}', b'{"model":"new","x":1}'),
        (b'{"model": "a\\\\","x":1}', b'{"model": "new","x":1}'),
        (b'{"model": "a", "n": {"model": "b"}}', b'{"model": "new", "n": {"model": "b"}}'),
        (b'{"model": "a", "model":"b"}', b'{"model": "new", "model":"new"}'),
        (b'{"model":"","x":1}', b'{"model":"new","x":1}'),
        (b'{"model":"a', b'{"model":"a'),
    ],
)
def test_only_the_top_level_value_changes(body: bytes, changed: bytes) -> None:
    """White space, numbers, order, nested keys, and text that looks like the key are left alone."""
    assert replace_string(body, "model", "new") == changed


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"Model":"m"}',
        b'{"model ":"m"}',
        b'{"model":1}',
        b'{"model":null,"x":"model"}',
        b'{"model":["m"]}',
        b'{"x":"\\u006dodel"}',
        b'[{"model":"m"}]',
    ],
)
def test_without_such_a_string_nothing_changes(body: bytes) -> None:
    """The very same object comes back: nothing was copied."""
    assert replace_string(body, "model", "new") is body


def test_new_value_is_escaped() -> None:
    """It is text, and becomes a JSON string."""
    assert replace_string(b'{"model":"m"}', "model", 'a"\\é\n') == '{"model":"a\\"\\\\é\\n"}'.encode()


class Counting:
    """A pattern that counts how often it is asked."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self._pattern = pattern
        self.asked = 0

    def search(self, text: bytes, position: int) -> re.Match[bytes] | None:
        self.asked += 1
        return self._pattern.search(text, position)

    def match(self, text: bytes, position: int) -> re.Match[bytes] | None:
        self.asked += 1
        return self._pattern.match(text, position)


def test_long_prompt_before_the_model_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Megabytes of text are passed over string by string, not character by character."""
    tokens = Counting(splice._TOKEN)
    monkeypatch.setattr(splice, "_TOKEN", tokens)
    body = b'{"messages":[' + b",".join([b'"%b"' % (b"x" * 2**21)] * 4) + b'],"model":"m"}'
    assert replace_string(body, "model", "new").endswith(b'"model":"new"}')
    assert tokens.asked == 10  # {, messages, [, four texts, ], model, m


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (b'{"model":"m"}', b'{"model":"new"}'),
        (b'{"model" : null ,"x":1}', b'{"model" : "new" ,"x":1}'),
        (b'{"model":-1.5e3}', b'{"model":"new"}'),
        (b'{"model":{"a":[{}],"model":"}"},"x":[]}', b'{"model":"new","x":[]}'),
        (b'{"model":1,"model":["m"]}', b'{"model":"new","model":"new"}'),
        (b"{}", b'{"model":"new"}'),
        (b" \n{ \t} ", b' \n{"model":"new" \t} '),
        (b'{ "n":12345678901234567890}', b'{"model":"new", "n":12345678901234567890}'),
        (b'{"x":{"model":"m"}}', b'{"model":"new","x":{"model":"m"}}'),
        (b"[1]", b"[1]"),
        (b"", b""),
    ],
)
def test_a_value_is_put_in(body: bytes, changed: bytes) -> None:
    """In place of whatever stands there; where nothing does, in front. What is no object stays as it is."""
    assert put_string(body, "model", "new") == changed


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (b'{"gone":1}', b"{}"),
        (b'{ "gone" : [1,{"gone":2}] }', b"{  }"),
        (b'{"gone":1, "a":2}', b'{"a":2}'),
        (b'{"a":1 , "gone":"," }', b'{"a":1  }'),
        (b'{"a":1,"gone":{},"b":2}', b'{"a":1,"b":2}'),
        (b'{"gone":1,"gone":2,"a":3,"gone":4,"gone":5}', b'{"a":3}'),
        (b'{"a":3,"\\u0067one":4,"gone":5,"b":1e5}', b'{"a":3,"b":1e5}'),
        (b'{"a":{"gone":1},"b":"gone","c":"\\"gone\\":1"}', b'{"a":{"gone":1},"b":"gone","c":"\\"gone\\":1"}'),
    ],
)
def test_a_key_is_removed_with_one_comma(body: bytes, changed: bytes) -> None:
    """What is left is an object still, however often the key stood there; what lies deeper is not it."""
    assert remove_key(body, "gone") == changed


def test_nothing_to_remove_is_the_same_object() -> None:
    body = b'{"a":1}'
    assert remove_key(body, "gone") is body
    assert not may_have_key(body, "gone")
    assert may_have_key(b'{"\\u0067one":1}', "gone")
    assert may_have_key(b'{"gone":1}', "gone")


def test_many_removals_take_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client cannot make the gateway work more than its body is long."""
    body = b"{" + b",".join([b'"gone":[]'] * 500) + b"}"
    tokens = Counting(splice._TOKEN)
    monkeypatch.setattr(splice, "_TOKEN", tokens)
    assert remove_key(body, "gone") == b"{}"
    assert tokens.asked <= 500 * 4 + 10
