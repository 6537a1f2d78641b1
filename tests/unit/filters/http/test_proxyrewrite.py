"""Rules of rewriting: path, query and target stay one, and Go's templates mean what they mean in Go."""

from __future__ import annotations

import msgspec
import pytest
from fakes.exchange import make_context, make_exchange

from pixiu_py.filters.http.proxyrewrite import ProxyRewrite, ProxyRewriteConfig
from pixiu_py.http.exchange import Response


def rewrite(target, pattern, replacement):
    exchange = make_exchange(target=target)
    ProxyRewrite(ProxyRewriteConfig(uri_regex=[pattern, replacement]), make_context()).decode(exchange)
    return exchange.request


@pytest.mark.parametrize(
    ("target", "pattern", "replacement", "expected"),
    [
        ("/api/v1/x", "^/api(/.*)$", "$1", "/v1/x"),
        ("/api/v1/x", "^/api/(?P<version>v1)/", "/${version}/api/", "/v1/api/x"),
        ("/api/x", "^/(api)", "/${1}2", "/api2/x"),
        ("/a/a", "a", "b", "/b/b"),
        ("/a", "a", "$$1", "/$1"),
        ("/a", "(a)|(b)", "[$2]", "/[]"),
        ("/a", "nothing", "x", "/a"),
        ("/a%20b", "%20", "_", "/a_b"),
    ],
)
def test_every_match_in_the_path_is_replaced(target, pattern, replacement, expected):
    assert rewrite(target, pattern, replacement).target == expected


def test_the_query_is_kept():
    request = rewrite("/api/x?a=1&b=/api", "^/api", "")
    assert (request.path, request.query, request.target) == ("/x", "a=1&b=/api", "/x?a=1&b=/api")


def test_a_query_in_the_replacement_goes_before_the_clients():
    request = rewrite("/user/7?a=1", "^/user/(.*)$", "/user?id=$1")
    assert (request.path, request.query, request.target) == ("/user", "id=7&a=1", "/user?id=7&a=1")


def test_the_path_always_starts_with_a_slash():
    assert rewrite("/api/x", "^/api/", "").target == "/x"


def test_without_config_nothing_changes():
    exchange = make_exchange(target="/a?b")
    exchange.response = Response(200)
    filter_ = ProxyRewrite(ProxyRewriteConfig(), make_context())
    filter_.decode(exchange)
    filter_.encode(exchange)
    assert exchange.request.target == "/a?b"
    assert len(exchange.response.headers) == 0


def test_headers_are_added_to_the_response():
    exchange = make_exchange()
    exchange.response = Response(200)
    exchange.response.headers.add("X-A", "endpoint")
    ProxyRewrite(ProxyRewriteConfig(headers={"X-A": "1", "X-B": "2"}), make_context()).encode(exchange)
    assert list(exchange.response.headers) == [("X-A", "endpoint"), ("X-A", "1"), ("X-B", "2")]
    assert len(exchange.request.headers) == 0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"uri_regex": ["a"]}, "exactly two"),
        ({"uri_regex": ["a", "b", "c"]}, "exactly two"),
        ({"uri_regex": ["(", "b"]}, "not a regular expression"),
        ({"uri_regex": ["(a)", "$1x"]}, "group '1x'"),
        ({"uri_regex": ["(a)", "$2"]}, "group '2'"),
        ({"uri_regex": ["a", "/b c"]}, "spaces"),
        ({"uri_regex": ["a", "/b\r\n"]}, "control characters"),
        ({"headers": {"Content-Length": "1"}}, "Content-Length cannot be changed"),
        ({"headers": {"A": "b\nc"}}, "CR, LF or NUL"),
    ],
)
def test_mistakes_are_found_at_start(config, message):
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert(config, ProxyRewriteConfig)
