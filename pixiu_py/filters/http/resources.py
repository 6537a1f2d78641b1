"""Sentinel's resources, as Pixiu's config writes them: names for groups of paths."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Final, Literal

from pixiu_py.config.types import Model, doc

#: Pixiu writes match strategies as numbers.
EXACT: Final = 0
REGEX: Final = 1
ANT_PATH: Final = 2


class ResourceItem(Model, frozen=True):
    """Which paths belong to a resource."""

    pattern: Annotated[str, doc("Path, expression or pattern; the query does not count.")]
    matchStrategy: Annotated[  # noqa: N815 - Pixiu's key
        Literal[0, 1, 2], doc("0: exactly; 1: regular expression, found anywhere; 2: Ant pattern with ?, * and **.")
    ] = EXACT

    def __post_init__(self) -> None:
        if self.matchStrategy != REGEX:
            return
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"{self.pattern!r} is not a regular expression: {error}") from None


class Resource(Model, frozen=True):
    """A named group of paths."""

    name: Annotated[str, doc("Name that rules refer to.")]
    id: Annotated[int, doc("Accepted and unused, as in Pixiu.")] = 0
    items: Annotated[list[ResourceItem], doc("Paths of the resource; any of them fits.")] = []


class ResourceMatcher:
    """Finds the resource of a path: exact items first, then expressions, then Ant patterns, each in config order."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._exact: dict[str, str] = {}
        searches: list[tuple[Callable[[str], object], str]] = []
        patterns: list[tuple[str, str]] = []
        for resource in resources:
            for item in resource.items:
                if item.matchStrategy == EXACT:
                    self._exact.setdefault(item.pattern, resource.name)
                elif item.matchStrategy == REGEX:
                    searches.append((re.compile(item.pattern).search, resource.name))
                else:
                    patterns.append((item.pattern, resource.name))
        self._searches = tuple(searches)
        self._patterns = tuple(patterns)

    def match(self, path: str) -> str | None:
        """The name of the path's resource; None when it belongs to none."""
        name = self._exact.get(path)
        if name is not None:
            return name
        for search, name in self._searches:
            if search(path):
                return name
        return next((name for pattern, name in self._patterns if ant_match(pattern, path)), None)


def ant_match(pattern: str, path: str) -> bool:
    """True when ``path`` fits an Ant pattern: ``?`` one character, ``*`` any in a segment, ``**`` any segments."""
    return _glob(pattern.split("/"), path.split("/"), "**", _segment_match)


def _segment_match(pattern: str, segment: str) -> bool:
    return _glob(pattern, segment, "*", lambda wanted, char: wanted in ("?", char))


def _glob(pattern: Sequence[str], items: Sequence[str], many: str, fits: Callable[[str, str], bool]) -> bool:
    """Match, ``many`` standing for any number of items. Goes back to the last ``many`` only, so it is never slow."""
    at = taken = retry_taken = 0
    retry_at = -1
    while taken < len(items):
        if at < len(pattern) and pattern[at] == many:
            retry_at, retry_taken = at + 1, taken
            at += 1
        elif at < len(pattern) and fits(pattern[at], items[taken]):
            at += 1
            taken += 1
        elif retry_at >= 0:
            retry_taken += 1
            at, taken = retry_at, retry_taken
        else:
            return False
    return all(rest == many for rest in pattern[at:])
