"""From YAML text to a tree of values with places.

The tree is built from the parser's events rather than with ``yaml.compose``: that one recurses in C without a limit, so
a hundred kilobytes of brackets end the process. Depth and the number of values, aliases counted as often as they are
used, are bounded here. Plain scalars mean what PyYAML's safe loader says they mean, save that dates stay text.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as Map
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yaml.constructor import SafeConstructor
from yaml.nodes import ScalarNode
from yaml.reader import Reader
from yaml.resolver import Resolver

from pixiu_py.config.env import expand, read_secret
from pixiu_py.config.node import Mapping, Node, Place, Scalar, Sequence, Unreadable, noun
from pixiu_py.config.report import Report
from pixiu_py.errors import PixiuError

#: Deepest nesting of lists and mappings.
MAX_DEPTH = 64
#: Most values in a document, after aliases have been put in.
MAX_VALUES = 250_000

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE = "tag:yaml.org,2002:"
#: Tags of single values. Dates stay text, and so do the signs for merging and defaults where they are values.
_TAGS = {_CORE + name for name in ("str", "null", "bool", "int", "float", "timestamp", "merge", "value")}
_MERGE = "<<"


class _StopError(PixiuError):
    """The document cannot be read further; the reason has been reported."""


class _Built(NamedTuple):
    node: Node
    #: Levels of nesting below, itself included.
    height: int


class _Anchored(NamedTuple):
    built: _Built
    #: How many values it stands for.
    values: int


def parse(text: str, report: Report, environ: Map[str, str], folder: Path) -> Mapping | None:
    """The tree of the one document in ``text``. None after a problem that leaves nothing to look at.

    ``folder`` is where the paths of ``!file`` start.
    """
    strange = Reader.NON_PRINTABLE.search(text)
    if strange is not None:
        report.problem("", f"Not YAML: the character U+{ord(strange[0]):04X}", place_of(text, strange.start()))
        return None
    composer = _Composer(yaml.parse(text, Loader=_LOADER), report, _Scalars(report, environ, folder))
    try:
        root = composer.document()
    except _StopError:
        return None
    except yaml.MarkedYAMLError as error:
        _report_syntax(error, report)
        return None
    except yaml.YAMLError as error:  # what a loader reports without a place
        report.problem("", f"Not YAML: {error}")
        return None
    if root is None or (isinstance(root, Scalar) and root.value is None):
        report.problem("", "The file is empty")
        return None
    if not isinstance(root, Mapping):
        report.problem("", f"Expected a mapping at the top level, got {noun(root)}", root.place)
        return None
    return root


def place_of(text: str, position: int) -> Place:
    """Line and column of a character."""
    before = text[:position]
    return before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1


def _place(mark: Any) -> Place:
    return mark.line + 1, mark.column + 1


def _report_syntax(error: yaml.MarkedYAMLError, report: Report) -> None:
    mark = error.problem_mark or error.context_mark
    while_doing = f" {error.context}" if error.context else ""
    report.problem("", f"Not YAML: {error.problem}{while_doing}", _place(mark) if mark else None)


class _Composer:
    """Builds the tree, one event after the other."""

    def __init__(self, events: Iterator[Any], report: Report, scalars: _Scalars) -> None:
        self._events = events
        self._report = report
        self._scalars = scalars
        self._anchors: dict[str, _Anchored | None] = {}
        self._values = 0

    def document(self) -> Node | None:
        """The root of the only document."""
        next(self._events)  # stream start
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return None
        root = self._node(next(self._events), "", 1).node
        next(self._events)  # document end
        after = next(self._events)
        if isinstance(after, yaml.DocumentStartEvent):
            self._report.problem("", "Expected one document, got a second one", _place(after.start_mark))
        return root

    def _node(self, event: Any, path: str, depth: int) -> _Built:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path, depth)
        place = _place(event.start_mark)
        before = self._values
        self._count(1, path, place)
        if depth > MAX_DEPTH:
            self._stop(path, f"Nested deeper than {MAX_DEPTH} levels", place)
        if event.anchor:
            self._anchors[event.anchor] = None
        built = self._build(event, path, depth, place)
        if event.anchor:
            self._anchors[event.anchor] = _Anchored(built, self._values - before)
        return built

    def _build(self, event: Any, path: str, depth: int, place: Place) -> _Built:
        if isinstance(event, yaml.ScalarEvent):
            return _Built(self._scalars.read(event, path, place), 1)
        if event.tag not in (None, "!", _CORE + "seq", _CORE + "map"):
            self._report.problem(path, f"The tag {_short(event.tag)} is not known here", place)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path, depth, place)
        return self._mapping(path, depth, place)

    def _alias(self, event: Any, path: str, depth: int) -> _Built:
        place = _place(event.start_mark)
        if event.anchor not in self._anchors:
            self._stop(path, f"Not YAML: no anchor {event.anchor!r} before this alias", place)
        anchored = self._anchors[event.anchor]
        if anchored is None:
            self._report.problem(path, f"The alias {event.anchor!r} stands inside its own anchor", place)
            return _Built(Unreadable(place), 1)
        self._count(anchored.values, path, place)
        if depth + anchored.built.height - 1 > MAX_DEPTH:
            self._stop(path, f"Nested deeper than {MAX_DEPTH} levels", place)
        return anchored.built

    def _sequence(self, path: str, depth: int, place: Place) -> _Built:
        items: list[Node] = []
        height = 0
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            built = self._node(event, f"{path}[{len(items)}]", depth + 1)
            items.append(built.node)
            height = max(height, built.height)
        return _Built(Sequence(place, items), height + 1)

    def _mapping(self, path: str, depth: int, place: Place) -> _Built:
        mapping = Mapping(place)
        merged: list[Mapping] = []
        height = 0
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            is_merge = isinstance(event, yaml.ScalarEvent) and event.implicit[0] and event.value == _MERGE
            key, key_place = self._key(event, path, depth)
            below = f"{path}.{key}".lstrip(".") if key is not None else path
            built = self._node(next(self._events), below, depth + 1)
            height = max(height, built.height)
            if is_merge:
                merged += self._mergeable(built.node, path, key_place)
            elif key is not None and key in mapping.items:
                line = mapping.keys[key][0]
                self._report.problem(below, f"The key {key!r} is already given on line {line}", key_place)
            elif key is not None:
                mapping.items[key] = built.node
                mapping.keys[key] = key_place
        for source in merged:
            for key, node in source.items.items():
                mapping.items.setdefault(key, node)
                mapping.keys.setdefault(key, source.keys[key])
        return _Built(mapping, height + 1)

    def _key(self, event: Any, path: str, depth: int) -> tuple[str | None, Place]:
        """The text of a key as it is written; None after a problem."""
        place = _place(event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            if event.anchor:
                text = Scalar(place, event.value, event.value)
                self._anchors[event.anchor] = _Anchored(_Built(text, 1), 1)
            return str(event.value), place
        self._node(event, path, depth + 1)  # read over, so that its value is found
        self._report.problem(path, "Expected text as a key", place)
        return None, place

    def _mergeable(self, node: Node, path: str, place: Place) -> list[Mapping]:
        nodes = node.items if isinstance(node, Sequence) else [node]
        found = [item for item in nodes if isinstance(item, Mapping)]
        if len(found) < len(nodes):
            self._report.problem(path, f"{_MERGE} takes a mapping or a list of mappings", place)
        return found

    def _count(self, values: int, path: str, place: Place) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            self._stop(path, f"More than {MAX_VALUES} values, counting aliases as often as they are used", place)

    def _stop(self, path: str, message: str, place: Place) -> None:
        self._report.problem(path, message, place)
        raise _StopError


class _Scalars:
    """Reads single values: references, ``!file``, and what a plain text stands for."""

    def __init__(self, report: Report, environ: Map[str, str], folder: Path) -> None:
        self._report = report
        self._environ = environ
        self._folder = folder
        self._resolver = Resolver()
        self._constructor = SafeConstructor()

    def read(self, event: Any, path: str, place: Place) -> Node:
        """The value of one scalar event."""
        expanded = expand(event.value, self._environ)
        for text, reference in expanded.hidden:
            self._report.hide(text, reference)
        for problem in expanded.problems:
            self._report.problem(path, problem, place)
        if expanded.problems:
            return Unreadable(place)
        if event.tag == "!file":
            return self._file(expanded.text, f"!file {event.value}", path, place)
        tag = event.tag
        if tag is None or tag == "!":
            # The text is resolved only now, so that ``port: ${PORT}`` is a number.
            tag = self._resolver.resolve(ScalarNode, expanded.text, event.implicit)  # type: ignore[no-untyped-call]
        if tag not in _TAGS:
            self._report.problem(path, f"The tag {_short(tag)} is not known here", place)
            return Unreadable(place)
        try:
            return Scalar(place, self._value(tag, expanded.text), expanded.text, expanded.source)
        except (ValueError, KeyError):
            what = f"the value from {expanded.source}" if expanded.source else repr(expanded.text)
            self._report.problem(path, f"Expected {_short(tag)}, got {what}", place)
            return Unreadable(place)

    def _value(self, tag: str, text: str) -> Any:
        node = ScalarNode(tag, text)
        match tag.removeprefix(_CORE):
            case "null":
                return None
            case "bool":
                return self._constructor.construct_yaml_bool(node)
            case "int":
                return self._constructor.construct_yaml_int(node)
            case "float":
                return self._constructor.construct_yaml_float(node)
            case _:
                return text

    def _file(self, name: str, source: str, path: str, place: Place) -> Node:
        try:
            if not name:
                raise ValueError("needs the path of a file")
            text = read_secret(self._folder / name)
        except OSError as error:
            self._report.problem(path, f"{source} cannot be read: {error.strerror}", place)
            return Unreadable(place)
        except ValueError as error:
            self._report.problem(path, f"{source} {error}", place)
            return Unreadable(place)
        self._report.hide(text, source)
        return Scalar(place, text, text, source)


def _short(tag: str) -> str:
    return tag.replace(_CORE, "!!") if tag.startswith(_CORE) else tag
