"""Routes of a request: read leniently where that is harmless, refused whole where it is not."""

from __future__ import annotations

from typing import Any

import pytest

from pixiu_py.filters.llm.router.inline import LONGEST, MOST, read_preferences

CODE = {"name": "code", "description": "program code", "models": ["big", "small"]}


@pytest.mark.parametrize("policy", [{}, None, {"prefer": None}, {"prefer": ""}, {"prefer": "none"}])
def test_no_policy_is_none(policy: Any) -> None:
    """However that is said."""
    (route,) = read_preferences([{**CODE, "selection_policy": policy}]) or []
    assert (route.name, route.models, route.prefer) == ("code", ["big", "small"], "none")


def test_policy_and_examples_are_read() -> None:
    given = {**CODE, "selection_policy": {"prefer": "cheapest"}, "examples": ["fix this"], "unknown": 1}
    (route,) = read_preferences([given]) or []
    assert (route.prefer, route.examples) == ("cheapest", ["fix this"])


def test_empty_list_is_a_list() -> None:
    """It says that nothing is to be decided, which is not the same as saying nothing."""
    assert read_preferences([]) == []


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        "code",
        [None],
        [{**CODE, "name": ""}],
        [{**CODE, "name": 3}],
        [{**CODE, "description": 3}],
        [{**CODE, "models": []}],
        [{**CODE, "models": [3]}],
        [{**CODE, "models": ["m" * 257]}],
        [{**CODE, "models": ["m"] * (MOST + 1)}],
        [{**CODE, "examples": 3}],
        [{**CODE, "description": "d" * (LONGEST + 1)}],
        [{**CODE, "examples": ["e" * (LONGEST // 2)] * 2}],
        [{**CODE, "name": str(number), "description": "d" * (LONGEST // 8)} for number in range(8)],
        [{**CODE, "selection_policy": "cheapest"}],
        [{**CODE, "selection_policy": {"prefer": "random"}}],
        [{**CODE, "selection_policy": {"prefer": ["cheapest"]}}],
        [CODE, CODE],
        [{**CODE, "name": str(number)} for number in range(MOST + 1)],
    ],
)
def test_what_cannot_be_read_is_refused_whole(value: Any) -> None:
    """Half a list would route some requests right and others wrong."""
    assert read_preferences(value) is None
