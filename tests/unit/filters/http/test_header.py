"""Rules of the header filter."""

from __future__ import annotations

import msgspec
import pytest
from fakes.exchange import make_context, make_exchange

from pixiu_py.filters.http.header import Header, HeaderConfig
from pixiu_py.http.exchange import Response
from pixiu_py.http.headers import Headers


def header(config):
    return Header(msgspec.convert(config, HeaderConfig), make_context())


def test_without_config_it_changes_nothing():
    exchange = make_exchange(headers={"A": "1"})
    exchange.response = Response(200, Headers.of({"B": "2"}))
    filter_ = header({})
    filter_.decode(exchange)
    filter_.encode(exchange)
    assert list(exchange.request.headers) == [("A", "1")]
    assert list(exchange.response.headers) == [("B", "2")]


def test_remove_then_set_then_add():
    exchange = make_exchange(headers={"A": "1", "B": "1", "C": "1"})
    header({"request": {"remove": ["a"], "set": {"B": "2"}, "add": {"C": "2", "A": "2"}}}).decode(exchange)
    assert list(exchange.request.headers) == [("C", "1"), ("B", "2"), ("C", "2"), ("A", "2")]


def test_the_response_has_its_own_changes():
    exchange = make_exchange(headers={"Server": "client"})
    exchange.response = Response(200, Headers.of({"Server": "endpoint"}))
    filter_ = header({"response": {"remove": ["server"]}})
    filter_.decode(exchange)
    filter_.encode(exchange)
    assert list(exchange.request.headers) == [("Server", "client")]
    assert list(exchange.response.headers) == []


@pytest.mark.parametrize(
    "change",
    [
        {"set": {"Content-Length": "1"}},
        {"add": {"Transfer-Encoding": "chunked"}},
        {"remove": ["connection"]},
        {"set": {"Host": "a"}},
        {"set": {"A": "1\r\nB: 2"}},
        {"set": {"A b": "1"}},
        {"remove": [""]},
    ],
)
@pytest.mark.parametrize("side", ["request", "response"])
def test_what_would_break_a_message_is_refused_at_start(side, change):
    with pytest.raises(msgspec.ValidationError, match=side):
        header({side: change})
