"""Rules of Sentinel's resources: which path belongs to which."""

from __future__ import annotations

import time

import msgspec
import pytest

from pixiu_py.filters.http.resources import Resource, ResourceMatcher, ant_match


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/v1/*", "/v1/a", True),
        ("/v1/*", "/v1/a/b", False),
        ("/v1/*", "/v1", False),
        ("/v1/**", "/v1", True),
        ("/v1/**", "/v1/a/b/c", True),
        ("/v1/**", "/v12", False),
        ("/**/chat", "/chat", True),
        ("/**/chat", "/a/b/chat", True),
        ("/**/chat", "/a/b/chat/x", False),
        ("/**/a/**/b", "/x/a/y/z/b", True),
        ("/**/a/**/b", "/x/a/y/z/c", False),
        ("/a?c", "/abc", True),
        ("/a?c", "/ac", False),
        ("/a?c", "/a/c", False),
        ("/*.json", "/x.json", True),
        ("/*.json", "/x.jsonp", False),
        ("/a*b*c", "/a1b2b3c", True),
        ("/a.c", "/abc", False),
        ("/", "/", True),
        ("/**", "/", True),
    ],
)
def test_ant_patterns(pattern, path, expected):
    assert ant_match(pattern, path) is expected


def test_ant_patterns_are_never_slow():
    started = time.perf_counter()
    assert not ant_match("/" + "*a" * 30 + "b", "/" + "a" * 2000)
    assert not ant_match("/**/a" * 30 + "/b", "/a" * 1000)
    assert time.perf_counter() - started < 5  # backtracking would not end in a lifetime


def matcher(*items):
    resources = [
        {"name": f"r{position}", "items": [{"matchStrategy": strategy, "pattern": pattern}]}
        for position, (strategy, pattern) in enumerate(items)
    ]
    return ResourceMatcher(msgspec.convert(resources, list[Resource]))


def test_exact_comes_before_expressions_before_ant_patterns():
    found = matcher((2, "/a/**"), (1, "^/a/b"), (0, "/a/b"))
    assert found.match("/a/b") == "r2"
    assert found.match("/a/bc") == "r1"
    assert found.match("/a/c") == "r0"
    assert found.match("/b") is None


def test_expressions_are_found_anywhere():
    assert matcher((1, "/v1/.")).match("/api/v1/") is None
    assert matcher((1, "/v1/.")).match("/api/v1/x") == "r0"


def test_the_first_resource_wins():
    assert matcher((0, "/a"), (0, "/a")).match("/a") == "r0"
    assert matcher((1, "a"), (1, "/a")).match("/a") == "r0"
    assert matcher((2, "/*"), (2, "/a")).match("/a") == "r0"


def test_the_strategy_is_exact_when_absent():
    found = ResourceMatcher(msgspec.convert([{"name": "r", "items": [{"pattern": "/a.c"}]}], list[Resource]))
    assert found.match("/a.c") == "r"
    assert found.match("/abc") is None


@pytest.mark.parametrize("item", [{"matchStrategy": 1, "pattern": "("}, {"matchStrategy": 3, "pattern": "a"}, {}])
def test_mistakes_are_found_at_start(item):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert([{"name": "r", "items": [item]}], list[Resource])
