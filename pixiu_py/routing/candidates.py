"""The routes that compete at one place of a table: same path pattern, same method, different conditions.

They are filed under what a request must bring for them to win, so that a look-up touches those few only: a thousand
virtual hosts on ``/`` cost as much as one. A route is filed once per value of the first of these that it has:

- its hosts,
- one of its headers: the first with plain values, else the first; all of them where one is enough,
- its models.

What shares even that (one path, one host, many models) is looked through in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from pixiu_py.http.headers import Headers
from pixiu_py.routing.match import HeaderTest, Hosts, Models, host_name

if TYPE_CHECKING:
    from pixiu_py.http.exchange import Request
    from pixiu_py.routing.table import CompiledRoute

T = TypeVar("T")
#: Position → route. Positions tell who comes first.
Bucket = dict[int, "CompiledRoute[T]"]


class Candidates(Generic[T]):
    """Competing routes, best first. Immutable."""

    __slots__ = (
        "_first_modelled",
        "_headers",
        "_hosts",
        "_models",
        "_plain",
        "_prefix_lengths",
        "_prefixes",
        "_suffixes",
        "default",
    )

    def __init__(self, routes: Sequence[CompiledRoute[T]]) -> None:
        #: The first without conditions. All that come after it can never win.
        self.default = next((route for route in routes if not route.conditions.count), None)
        self._hosts: dict[str, Bucket[T]] = {}
        self._suffixes: dict[str, Bucket[T]] = {}
        #: Header name → value → routes; under None those for which any value may do.
        self._headers: dict[str, dict[str | None, Bucket[T]]] = {}
        self._models: dict[str, Bucket[T]] = {}
        self._prefixes: dict[str, Bucket[T]] = {}
        #: The best of those filed under a model.
        self._first_modelled: Bucket[T] = {}
        for position, route in enumerate(routes):
            self._file(position, route)
        self._prefix_lengths = sorted({len(prefix) for prefix in self._prefixes})
        self._plain = not (self._hosts or self._suffixes or self._headers or self._models or self._prefixes)

    def pick(self, request: Request, model: str | None) -> CompiledRoute[T] | None:
        """The first route whose conditions hold. ``model`` None: any model would do."""
        if self._plain:
            return self.default
        headers = request.headers
        host = ""
        found: Bucket[T] = {}
        if self._hosts or self._suffixes:
            host = host_name(headers.get("host"))
            self._gather_hosts(host, found)
        if self._headers:
            self._gather_headers(headers, found)
        if self._models or self._prefixes:
            self._gather_models(model, found)
        for position in sorted(found):
            route = found[position]
            if route.conditions.hold(headers, host, model):
                return route
        return self.default

    # --- look-up -----------------------------------------------------------------------------------------------------

    def _gather_hosts(self, host: str, found: Bucket[T]) -> None:
        found.update(self._hosts.get(host, ()))
        if not self._suffixes:
            return
        dot = host.find(".")
        while dot >= 0:
            found.update(self._suffixes.get(host[dot:], ()))
            dot = host.find(".", dot + 1)

    def _gather_headers(self, headers: Headers, found: Bucket[T]) -> None:
        for name, by_value in self._headers.items():
            if headers.get(name) is None:
                continue
            found.update(by_value.get(None, ()))
            for value in headers.getall(name):
                found.update(by_value.get(value, ()))

    def _gather_models(self, model: str | None, found: Bucket[T]) -> None:
        if model is None:  # what is filed here has no other condition, so the first of them holds
            found.update(self._first_modelled)
            return
        found.update(self._models.get(model, ()))
        for length in self._prefix_lengths:
            found.update(self._prefixes.get(model[:length], ()))

    # --- compilation -------------------------------------------------------------------------------------------------

    def _file(self, position: int, route: CompiledRoute[T]) -> None:
        conditions = route.conditions
        if conditions.hosts is not None:
            self._file_hosts(conditions.hosts, position, route)
        elif conditions.any_header:
            for test in conditions.headers:
                self._file_header(test, position, route)
        elif conditions.headers:
            narrow = next((test for test in conditions.headers if test.values), conditions.headers[0])
            self._file_header(narrow, position, route)
        elif conditions.models is not None:
            self._file_models(conditions.models, position, route)

    def _file_hosts(self, hosts: Hosts, position: int, route: CompiledRoute[T]) -> None:
        for name in hosts.exact:
            self._hosts.setdefault(name, {})[position] = route
        for suffix in hosts.suffixes:
            self._suffixes.setdefault(suffix, {})[position] = route

    def _file_header(self, test: HeaderTest, position: int, route: CompiledRoute[T]) -> None:
        by_value = self._headers.setdefault(test.name, {})
        for value in test.values or (None,):
            by_value.setdefault(value, {})[position] = route

    def _file_models(self, models: Models, position: int, route: CompiledRoute[T]) -> None:
        if not self._first_modelled:
            self._first_modelled[position] = route
        for name in models.exact:
            self._models.setdefault(name, {})[position] = route
        for prefix in models.prefixes:
            self._prefixes.setdefault(prefix, {})[position] = route
