"""The conditions of one route as pure values: path pattern, methods, hosts, headers, models.

Nothing here knows other routes; who wins when several match is decided in ``table.py``. ``problems()`` names everything
wrong with a ``match`` block, for the config checker; what it lets pass can be compiled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from pixiu_py.config.model import HeaderMatch, RouteMatch
from pixiu_py.config.types import is_field_name
from pixiu_py.http.headers import Headers

#: Methods of a route that lists none.
DEFAULT_METHODS = ("GET", "HEAD", "PUT", "PATCH", "DELETE", "POST", "OPTIONS")
#: In a route's methods: any method.
ANY_METHOD = "*"
#: Most segments of a path pattern. The match descends by one call per segment, so this also bounds its depth.
MAX_SEGMENTS = 100
#: Longest host name (RFC 1035 §2.3.4). A longer Host header is nobody's name.
MAX_HOST = 253


# --- path ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A parsed path. ``segments`` are percent-decoded; None stands for any one segment."""

    segments: tuple[str | None, ...]
    #: True when any further segments may follow, or none.
    rest: bool
    #: (index into ``segments``, name) of each ``:name``.
    variables: tuple[tuple[int, str], ...]
    #: The pattern in its one normal spelling, for labels and messages.
    template: str


def parse_path(pattern: str) -> PathPattern:
    """Parse ``/a/*/:id/**``. Raises ``ValueError`` with a sentence for the user.

    ``*`` and ``:name`` stand for exactly one segment, ``**`` for the rest of the path, which may be nothing. A leading
    slash may be missing, trailing ones do not count. Text is compared percent-decoded, so ``%2A`` and ``%3A`` are how
    a segment starts with a literal star or colon.
    """
    if "?" in pattern or "#" in pattern:
        raise ValueError(f"{pattern!r} has a query or fragment; only the path is matched")
    parts = pattern.removeprefix("/").rstrip("/").split("/") if pattern.strip("/") else []
    rest = bool(parts) and parts[-1] == "**"
    if rest:
        parts.pop()
    if len(parts) > MAX_SEGMENTS:
        raise ValueError(f"{pattern!r} has more than {MAX_SEGMENTS} segments")
    segments = tuple(_parse_segment(part, pattern) for part in parts)
    variables = tuple((index, part[1:]) for index, part in enumerate(parts) if part.startswith(":"))
    if len({name for _, name in variables}) < len(variables):
        raise ValueError(f"{pattern!r} uses the same variable name twice")
    template = "/" + "/".join([*parts, "**"] if rest else parts)
    return PathPattern(segments, rest, variables, template)


def parse_prefix(prefix: str) -> PathPattern:
    """Parse a prefix: a path followed by anything. ``*`` and ``:name`` work in it too. Raises like ``parse_path``."""
    return parse_path(prefix if prefix.endswith("**") else prefix.rstrip("/") + "/**")


def _parse_segment(part: str, pattern: str) -> str | None:
    if not part:
        raise ValueError(f"{pattern!r} has an empty segment (two slashes in a row)")
    if part == "**":
        raise ValueError(f"{pattern!r} has ** before its end; ** stands for the rest and must be last")
    if part == ":":
        raise ValueError(f"{pattern!r} has a variable without a name")
    if part == "*" or part.startswith(":"):
        return None
    if "*" in part:
        raise ValueError(f"{pattern!r} has * inside a segment; * stands for a whole one (write %2A for a literal star)")
    return decode_segment(part)


def decode_segment(segment: str) -> str:
    """A segment with its percent-escapes resolved. Bytes that are not UTF-8 stay distinguishable from each other."""
    return unquote(segment, errors="surrogateescape")


# --- method ----------------------------------------------------------------------------------------------------------


class Methods:
    """The methods of a route, and how closely it names each of them."""

    __slots__ = ("_listed", "names")

    def __init__(self, listed: Iterable[str]) -> None:
        self._listed = frozenset(name.upper() for name in listed)
        #: Every method that may match; ``*`` among them means any.
        self.names = self._listed or frozenset(DEFAULT_METHODS)
        if "GET" in self.names:
            self.names |= {"HEAD"}  # a HEAD request asks for what GET would answer (RFC 9110 §9.3.2)

    def distance(self, method: str) -> int | None:
        """0: listed; 1: HEAD where GET is listed; 2: by ``*``, or by default; None: not allowed."""
        if method in self._listed:
            return 0
        if method in self.names:
            return 1 if self._listed else 2
        return 2 if ANY_METHOD in self.names else None


# --- host ------------------------------------------------------------------------------------------------------------


def host_name(field: str | None) -> str:
    """The name in a Host header, without port and root dot, in lower case; empty when there is none."""
    if not field:
        return ""
    is_ipv6 = field.startswith("[")  # RFC 3986 §3.2.2
    name = field.partition("]")[0] + "]" if is_ipv6 else field.partition(":")[0].rstrip(".")
    return name.lower() if len(name) <= MAX_HOST else ""


class Hosts:
    """Exact host names and ``*.`` patterns."""

    __slots__ = ("exact", "suffixes")

    def __init__(self, patterns: Iterable[str]) -> None:
        names = [pattern.lower().rstrip(".") for pattern in patterns]
        self.exact = frozenset(name for name in names if not name.startswith("*"))
        #: Each with its leading dot.
        self.suffixes = tuple(name[1:] for name in names if name.startswith("*"))

    def holds(self, host: str) -> bool:
        """True for one of these names, or any depth of subdomains of a pattern. ``host`` is from ``host_name()``."""
        return host in self.exact or host.endswith(self.suffixes)


# --- header ----------------------------------------------------------------------------------------------------------


class HeaderTest:
    """A condition on one header. A repeated header meets it if one of its lines does."""

    __slots__ = ("name", "pattern", "values")

    def __init__(self, config: HeaderMatch) -> None:
        self.name = config.name.lower()
        self.pattern = re.compile(config.values[0]) if config.regex else None
        #: The values that will do; empty: any, or what ``pattern`` finds.
        self.values = frozenset() if config.regex else frozenset(config.values)

    def holds(self, headers: Headers) -> bool:
        """True when the header is there with a value that will do."""
        if headers.get(self.name) is None:  # cheap, and the usual end of it
            return False
        if self.pattern is not None:
            return any(self.pattern.search(value) for value in headers.getall(self.name))
        return not self.values or not self.values.isdisjoint(headers.getall(self.name))


# --- model -----------------------------------------------------------------------------------------------------------


class Models:
    """Exact model names and patterns with a trailing ``*``."""

    __slots__ = ("exact", "prefixes")

    def __init__(self, patterns: Iterable[str]) -> None:
        names = tuple(patterns)
        self.exact = frozenset(name for name in names if not name.endswith("*"))
        self.prefixes = tuple(name[:-1] for name in names if name.endswith("*"))

    def holds(self, model: str) -> bool:
        """True for one of these names or any ending of a pattern. No model at all meets no condition on it."""
        return bool(model) and (model in self.exact or model.startswith(self.prefixes))


# --- all together ----------------------------------------------------------------------------------------------------


class Conditions:
    """What a route asks for besides path and method."""

    __slots__ = ("any_header", "count", "headers", "hosts", "models")

    def __init__(self, match: RouteMatch) -> None:
        self.hosts = Hosts(match.hosts) if match.hosts else None
        self.headers = tuple(HeaderTest(header) for header in match.headers)
        self.models = Models(match.models) if match.models else None
        #: One header is enough: Pixiu's rule for routes that have nothing but headers.
        self.any_header = header_only(match)
        #: How many there are: one for hosts, one for models, one for each header.
        self.count = len(self.headers) + (self.hosts is not None) + (self.models is not None)

    def hold(self, headers: Headers, host: str, model: str | None) -> bool:
        """True when all are met. ``model`` None: not known yet, take it to be the right one."""
        if self.hosts is not None and not self.hosts.holds(host):
            return False
        if self.models is not None and model is not None and not self.models.holds(model):
            return False
        if not self.headers:
            return True
        met = (test.holds(headers) for test in self.headers)
        return any(met) if self.any_header else all(met)


def header_only(match: RouteMatch) -> bool:
    """True for a route with headers and neither prefix nor path."""
    return bool(match.headers) and not match.prefix and not match.path


def problems(match: RouteMatch) -> Iterator[tuple[str, str]]:
    """Everything wrong with a ``match`` block: the key below ``match``, and a sentence about it."""
    yield from _path_problems(match)
    for index, method in enumerate(match.methods):
        if method != ANY_METHOD and not re.fullmatch(r"[!#$%&'+.^_`|~0-9A-Za-z-]+", method):  # a token, RFC 9110 §5.6.2
            yield f"methods[{index}]", f"{method!r} is not a method name"
    for index, host in enumerate(match.hosts):
        if not re.fullmatch(r"(\*\.)?[^\s*:/\[\].][^\s*:/\[\]]*|\[[0-9A-Fa-f:.]+\]", host):
            yield f"hosts[{index}]", f"{host!r} is not a host name or *. and a host name; ports are not compared"
    for index, model in enumerate(match.models):
        if not model or "*" in model[:-1]:
            yield f"models[{index}]", f"{model!r} is not a model name with at most one * at its end"
    for index, header in enumerate(match.headers):
        yield from _header_problems(f"headers[{index}]", header)


def _path_problems(match: RouteMatch) -> Iterator[tuple[str, str]]:
    if match.prefix and match.path:
        yield "path", "a route has a prefix or a path, not both"
    for key, text, parse in (("prefix", match.prefix, parse_prefix), ("path", match.path, parse_path)):
        try:
            parse(text)
        except ValueError as error:
            yield key, str(error)


def _header_problems(key: str, header: HeaderMatch) -> Iterator[tuple[str, str]]:
    if not is_field_name(header.name):
        yield f"{key}.name", f"{header.name!r} is no name of a header"
    if not header.regex:
        return
    if not header.values:
        yield f"{key}.values", "regex is true, so values[0] must be a regular expression"
        return
    try:
        re.compile(header.values[0])
    except re.error as error:
        yield f"{key}.values[0]", f"{header.values[0]!r} is not a regular expression: {error}"
