"""Routes and requests for routing tests, each in one short line."""

from __future__ import annotations

from typing import Any, cast

from pixiu_py.config.model import HeaderMatch, Route, RouteAction, RouteMatch
from pixiu_py.http.body import RequestBody
from pixiu_py.http.exchange import Request
from pixiu_py.http.headers import Headers
from pixiu_py.routing.table import RouteTable


def header(name: str, *values: str, regex: bool = False) -> HeaderMatch:
    """A header condition."""
    return HeaderMatch(name=name, values=list(values), regex=regex)


def table_of(*matches: RouteMatch) -> RouteTable[int]:
    """A table whose payloads are the positions of the matches."""
    action = RouteAction(cluster="c")
    return RouteTable([(Route(match=match, route=action), index) for index, match in enumerate(matches)])


def prefixes(*names: str) -> RouteTable[int]:
    """A table of prefixes without conditions."""
    return table_of(*(RouteMatch(prefix=name) for name in names))


def paths(*patterns: str) -> RouteTable[int]:
    """A table of path patterns without conditions."""
    return table_of(*(RouteMatch(path=pattern) for pattern in patterns))


def request(target: str, method: str = "GET", fields: list[tuple[str, str]] | None = None, **named: str) -> Request:
    """A request; ``x_env="a"`` is the header ``X-Env: a``, ``fields`` are further lines. It has no body to look at."""
    lines = [(name.replace("_", "-").title(), value) for name, value in named.items()] + (fields or [])
    raw = [(name.encode(), value.encode()) for name, value in lines]
    return Request(method, target, Headers(raw), cast(RequestBody, object()))


def found(table: RouteTable[int], target: str, method: str = "GET", model: str = "", **named: Any) -> int | None:
    """The position of the route that the table finds, or None."""
    match = table.match(request(target, method, **named), model)
    return None if match is None else match[0].payload
