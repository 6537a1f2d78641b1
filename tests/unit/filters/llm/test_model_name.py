"""A request names a model, or it does not; what is too long to be a name is none."""

from __future__ import annotations

from typing import Any

import pytest

from pixiu_py.filters.llm.model_name import LONGEST, is_model_name, named_model, shortened


@pytest.mark.parametrize(
    ("document", "model"),
    [
        ({"model": "small"}, "small"),
        ({"model": "x" * LONGEST}, "x" * LONGEST),
        ({"model": "x" * (LONGEST + 1)}, ""),
        ({"model": ""}, ""),
        ({"model": 5}, ""),
        ({"model": None}, ""),
        ({"model": ["small"]}, ""),
        ({}, ""),
        ([], ""),
        (None, ""),
    ],
)
def test_what_a_body_names(document: Any, model: str) -> None:
    """Anything else than a text of a bearable length is no name, and never a failure."""
    assert named_model(document) == model


@pytest.mark.parametrize(("value", "is_name"), [("m", True), ("", False), ("x" * (LONGEST + 1), False), (5, False)])
def test_what_a_model_may_be_called(value: Any, is_name: bool) -> None:
    """A text, neither empty nor endless."""
    assert is_model_name(value) is is_name


def test_a_long_name_is_told_by_its_beginning() -> None:
    """An error need not be as long as what caused it."""
    assert shortened("small") == "small"
    assert shortened("x" * 1000) == "x" * LONGEST + "…"
