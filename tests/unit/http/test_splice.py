"""Rules of the splice: one value changes, every other byte stays; whatever a JSON text may hold."""

from __future__ import annotations

import time

import pytest

from pixiu_py.http.splice import replace_string


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


def test_long_prompt_before_the_model_costs_little() -> None:
    """Thirty-two megabytes of text are passed over string by string, not character by character."""
    body = b'{"messages":[' + b",".join([b'"%b"' % (b"x" * 2**23)] * 4) + b'],"model":"m"}'
    started = time.perf_counter()
    assert replace_string(body, "model", "new").endswith(b'"model":"new"}')
    assert time.perf_counter() - started < 0.3
