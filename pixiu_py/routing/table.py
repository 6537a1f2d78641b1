"""The route table: from a request to its route, at a cost that does not depend on how many routes there are.

Compiled once from the configuration, never changed; a reload builds a new one. Rules, in order:

1. Routes with headers and neither ``prefix`` nor ``path`` come first, in config order, whatever the path. One matching
   header is enough there; hosts, models and methods, if given, must hold as well. (Pixiu's rule.)
2. Otherwise the path decides, segment by segment from the left: the same text, before ``*`` or ``:name``, before ``**``
   or the end of a prefix. So the longest prefix wins. A branch that leads nowhere, because its path, method or
   conditions do not fit, is left again for the next best.
3. Among routes with the same pattern, the one with more conditions wins (hosts, models and each header count one);
   then one that lists the request's method, before HEAD by virtue of GET, before one that takes all methods; then the
   first in the configuration. ``/a/:x`` and ``/a/*`` are the same pattern, and so are ``/a/**`` and the prefix ``/a``.

Paths: the query is not part of them; trailing slashes do not count; an empty segment elsewhere matches only ``**`` and
prefixes. Segments are compared percent-decoded, after splitting, so ``%2F`` never splits one. ``.`` and ``..`` are
segments like any other: nothing is resolved here. A request target that is not a path (``OPTIONS *``) has no route by
path. A route with neither prefix, path nor headers matches every path.

Methods: names are case-sensitive in requests (RFC 9110 §9.1). A route that lists none takes GET, HEAD, PUT, PATCH,
DELETE, POST and OPTIONS; ``*`` takes any; GET brings HEAD with it.

Hosts: from the Host header, without port and without regard to case. No order between ``a.example.com`` and
``*.example.com`` in two routes but that of the configuration; the same holds for models.

Cost: a dictionary look-up per segment, down to the deepest configured pattern; where ``*`` or ``:name`` stands beside
text, both branches may have to be tried. Routes with equal patterns are found by host, header value or model (see
``candidates.py``); routes of rule 1 cost a look-up per distinct header name. That is about half a microsecond for a
prefix; a cache by path, which clients choose, would need a bound and evictions to save less than that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from pixiu_py.config.model import Route
from pixiu_py.http.exchange import Request
from pixiu_py.routing.candidates import Candidates
from pixiu_py.routing.match import (
    ANY_METHOD,
    Conditions,
    Methods,
    PathPattern,
    decode_segment,
    parse_path,
    parse_prefix,
    problems,
)

T = TypeVar("T")


class CompiledRoute(Generic[T]):
    """One route, ready to be matched. ``payload`` is whatever the table's owner put there."""

    __slots__ = (
        "cluster",
        "conditions",
        "id",
        "methods",
        "path",
        "payload",
        "position",
        "status_without_endpoint",
        "template",
        "variables",
    )

    def __init__(self, position: int, route: Route, path: PathPattern, payload: T) -> None:
        #: Place in the configuration, from 0.
        self.position = position
        self.path = path
        #: The path pattern, for labels: ``/v1/**`` for the prefix ``/v1``.
        self.template = path.template
        #: The configured id; without one, the template.
        self.id = route.id or self.template
        #: Name of the cluster.
        self.cluster = route.route.cluster
        #: What to answer when the cluster has no endpoint at all.
        self.status_without_endpoint = route.route.cluster_not_found_response_code
        self.payload = payload
        self.methods = Methods(route.match.methods)
        self.conditions = Conditions(route.match)
        #: (index into the split path, name) of each ``:name``; the split path starts with an empty string.
        self.variables = tuple((index + 1, name) for index, name in path.variables)

    def __repr__(self) -> str:
        return f"<CompiledRoute {self.id} {self.template} to {self.cluster}>"


#: A route, and the values of its variables. The dict of a route without variables is shared: look, do not touch.
Match = tuple[CompiledRoute[T], dict[str, str]]
ByMethod = dict[str, Candidates[T]]


class Node(Generic[T]):
    """What may follow one beginning of a path."""

    __slots__ = ("any", "ends", "exact", "rests")

    def __init__(self) -> None:
        self.exact: dict[str, Node[T]] = {}
        #: Below ``*`` and ``:name``.
        self.any: Node[T] | None = None
        #: Routes whose pattern ends here, and those that take whatever follows.
        self.ends: ByMethod[T] = {}
        self.rests: ByMethod[T] = {}


class RouteTable(Generic[T]):
    """All routes of one connection manager. Raises ``ValueError`` for a route that ``match.problems()`` objects to."""

    __slots__ = ("_depth", "_header_only", "_no_values", "_root", "routes", "uses_headers", "uses_models")

    def __init__(self, routes: Sequence[tuple[Route, T]]) -> None:
        #: In config order.
        self.routes = tuple(_compile(position, route, payload) for position, (route, payload) in enumerate(routes))
        by_header = [route for route in self.routes if route.conditions.any_header]
        by_path = [route for route in self.routes if not route.conditions.any_header]
        self._header_only = _by_method(by_header, _config_order)
        self._root = _trie(by_path)
        self._depth = max((len(route.path.segments) for route in by_path), default=0)
        #: True when some route depends on the body's model.
        self.uses_models = any(route.conditions.models is not None for route in self.routes)
        #: True when some route depends on a header other than Host.
        self.uses_headers = any(route.conditions.headers for route in self.routes)
        self._no_values: dict[str, str] = {}

    def match(self, request: Request, model: str = "") -> Match[T] | None:
        """The route of a request, and the values of its variables. ``model`` is the body's, as far as known."""
        segments = self._split(request.path)
        route = self._find(request, segments, model)
        if route is None:
            return None
        if not route.variables:
            return route, self._no_values
        return route, {name: segments[index] for index, name in route.variables}

    def needs_model(self, request: Request) -> bool:
        """True when ``match`` would answer differently for some model than for none: the body has to be read first."""
        if not self.uses_models:
            return False
        route = self._find(request, self._split(request.path), None)
        return route is not None and route.conditions.models is not None

    def _split(self, path: str) -> list[str]:
        # Segments below the deepest pattern stay in one piece: only their presence matters.
        segments = path.rstrip("/").split("/", self._depth + 1)
        return [decode_segment(segment) for segment in segments] if "%" in path else segments

    def _find(self, request: Request, segments: list[str], model: str | None) -> CompiledRoute[T] | None:
        if self._header_only:
            route = _choose(self._header_only, request, model)
            if route is not None:
                return route
        if segments[0]:  # the target does not start with a slash
            return None
        return _descend(self._root, 1, segments, request, model)


def _descend(
    node: Node[T], depth: int, segments: list[str], request: Request, model: str | None
) -> CompiledRoute[T] | None:
    """The best route below ``node`` for the segments from ``depth`` on."""
    if depth < len(segments):
        segment = segments[depth]
        child = node.exact.get(segment)
        if child is not None:
            route = _descend(child, depth + 1, segments, request, model)
            if route is not None:
                return route
        child = node.any
        if child is not None and segment:
            route = _descend(child, depth + 1, segments, request, model)
            if route is not None:
                return route
    elif node.ends:
        route = _choose(node.ends, request, model)
        if route is not None:
            return route
    return _choose(node.rests, request, model) if node.rests else None


def _choose(by_method: ByMethod[T], request: Request, model: str | None) -> CompiledRoute[T] | None:
    candidates = by_method.get(request.method) or by_method.get(ANY_METHOD)
    return candidates.pick(request, model) if candidates is not None else None


# --- compilation -----------------------------------------------------------------------------------------------------


def _compile(position: int, route: Route, payload: T) -> CompiledRoute[T]:
    for key, sentence in problems(route.match):
        raise ValueError(f"route {route.id or position}: {key}: {sentence}")
    path = parse_path(route.match.path) if route.match.path else parse_prefix(route.match.prefix)
    return CompiledRoute(position, route, path, payload)


def _trie(routes: Sequence[CompiledRoute[T]]) -> Node[T]:
    root: Node[T] = Node()
    ends: dict[Node[T], list[CompiledRoute[T]]] = {}
    rests: dict[Node[T], list[CompiledRoute[T]]] = {}
    for route in routes:
        node = root
        for segment in route.path.segments:
            node = _child(node, segment)
        (rests if route.path.rest else ends).setdefault(node, []).append(route)
    for node, competing in ends.items():
        node.ends = _by_method(competing, _specific_first)
    for node, competing in rests.items():
        node.rests = _by_method(competing, _specific_first)
    return root


def _child(node: Node[T], segment: str | None) -> Node[T]:
    if segment is not None:
        return node.exact.setdefault(segment, Node())
    if node.any is None:
        node.any = Node()
    return node.any


def _config_order(method: str, route: CompiledRoute[T]) -> tuple[int, ...]:
    """Sort key of rule 1."""
    return (route.position,)


def _specific_first(method: str, route: CompiledRoute[T]) -> tuple[int, ...]:
    """Sort key of rule 3."""
    return -route.conditions.count, route.methods.distance(method) or 0, route.position


def _by_method(
    routes: Sequence[CompiledRoute[T]], rank: Callable[[str, CompiledRoute[T]], tuple[int, ...]]
) -> ByMethod[T]:
    """The routes that compete for each method that one of them names, best first."""
    by_method: ByMethod[T] = {}
    shared: dict[tuple[int, ...], Candidates[T]] = {}
    for method in sorted({name for route in routes for name in route.methods.names}):
        allowed = [(rank(method, route), route) for route in routes if route.methods.distance(method) is not None]
        competing = [route for _, route in sorted(allowed, key=lambda pair: pair[0])]
        key = tuple(route.position for route in competing)
        if key not in shared:
            shared[key] = Candidates(competing)
        by_method[method] = shared[key]
    return by_method
