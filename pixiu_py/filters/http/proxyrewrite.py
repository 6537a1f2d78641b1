"""Rewrites the request's path by a regular expression, and adds fields to the response."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

from pixiu_py.config.types import Model, doc
from pixiu_py.filters.base import Context, HttpFilter
from pixiu_py.filters.http.fields import check_fields
from pixiu_py.http.exchange import Exchange, Request
from pixiu_py.registry import Family, plugin

#: Go's template syntax: $1, $name, ${1}, ${name}, and $$ for a dollar sign.
_REFERENCE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})", re.ASCII)


class ProxyRewriteConfig(Model, frozen=True):
    """Config of ``dgp.filter.http.proxyrewrite``."""

    uri_regex: Annotated[list[str], doc("[pattern, replacement]; $1 or ${name} stands for a group.")] = []
    headers: Annotated[dict[str, str], doc("Fields added to the response.")] = {}

    def __post_init__(self) -> None:
        check_fields(self.headers.items())
        if not self.uri_regex:
            return
        if len(self.uri_regex) != 2:
            raise ValueError("uri_regex needs exactly two entries, pattern and replacement")
        compile_rewrite(*self.uri_regex)


@plugin(Family.HTTP_FILTER, "dgp.filter.http.proxyrewrite")
class ProxyRewrite(HttpFilter):
    """Rewrites the request's path and adds response headers."""

    Config = ProxyRewriteConfig

    def __init__(self, config: ProxyRewriteConfig, context: Context) -> None:
        super().__init__(config, context)
        self._rewrite = compile_rewrite(*config.uri_regex) if config.uri_regex else None

    def decode(self, exchange: Exchange) -> None:
        """Rewrite the path."""
        request = exchange.request
        if self._rewrite is None:
            return
        path = self._rewrite(request.path)
        if path != request.path:
            set_target(request, path)

    def encode(self, exchange: Exchange) -> None:
        """Add the configured fields."""
        response = exchange.response
        if response is None:
            return
        for name, value in self.config.headers.items():
            response.headers.add(name, value)


def set_target(request: Request, path: str) -> None:
    """Point the request at ``path``; a query in it goes before the client's own, and it always starts with a slash."""
    path, _, query = path.partition("?")
    request.path = path if path.startswith("/") else "/" + path
    request.query = "&".join(part for part in (query, request.query) if part)
    request.target = f"{request.path}?{request.query}" if request.query else request.path


def compile_rewrite(pattern: str, replacement: str) -> Callable[[str], str]:
    """A function from the old path to the new one. Every match is replaced, as Go's ``ReplaceAllString`` does.

    Raises ``ValueError`` for a bad pattern, for a reference to a group that is not there (``$1x`` means the group
    ``1x``; write ``${1}x``), and for text that cannot be part of a request line. Python's engine backtracks, so a
    pattern with nested repetition can be slow on hostile paths; choosing one that is not is the operator's care.
    """
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
    if re.search(r"[\x00-\x20\x7f#]", replacement):
        raise ValueError("the replacement must not contain spaces, control characters or #")
    parts = _parse(replacement, regex)

    def expand(match: re.Match[str]) -> str:
        return "".join(part if isinstance(part, str) else match[part[0]] or "" for part in parts)

    return lambda path: regex.sub(expand, path)


def _parse(template: str, regex: re.Pattern[str]) -> list[str | tuple[int]]:
    """Literal text, and group numbers in a tuple of one."""
    parts: list[str | tuple[int]] = []
    end = 0
    for match in _REFERENCE.finditer(template):
        parts.append(template[end : match.start()])
        end = match.end()
        name = match[2] or match[3]
        parts.append((_group(name, regex),) if name else "$")
    parts.append(template[end:])
    return parts


def _group(name: str, regex: re.Pattern[str]) -> int:
    if name.isdigit() and int(name) <= regex.groups:
        return int(name)
    if name in regex.groupindex:
        return regex.groupindex[name]
    raise ValueError(f"the replacement refers to group {name!r}, which the pattern does not have")
