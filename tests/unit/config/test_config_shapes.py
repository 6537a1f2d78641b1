"""What a type asks of a document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from pixiu_py.config.model import Cluster, ServedModel
from pixiu_py.config.node import Mapping, Scalar, Sequence
from pixiu_py.config.shapes import annotate, describe, fits, shape, unwrap, written_as
from pixiu_py.config.types import Duration, Secret, Size, doc


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (int, Scalar),
        (Secret, Scalar),
        (Literal["a"], Scalar),
        (Duration, Scalar),
        (list, Sequence),
        (list[int], Sequence),
        (tuple[int, ...], Sequence),
        (dict[str, Any], Mapping),
        (Cluster, Mapping),
        (Annotated[Cluster, doc("x")], Mapping),
        (int | None, None),
        (Any, None),
    ],
)
def test_shape_of_a_type(kind: Any, expected: Any) -> None:
    assert shape(kind) is expected


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (int, "int"),
        (Secret, "str"),
        (Annotated[Duration, doc("x")], "a duration"),
        (Size, "a size"),
        (list[str], "a list"),
        (Cluster, "a mapping"),
        (str | ServedModel, "str or a mapping"),
        (list[str] | tuple[int, ...] | None, "a list"),
        (Literal["a", "b"], "a or b"),
        (Literal["a", "b", "c"], "one of a, b, c"),
    ],
)
def test_a_type_in_words(kind: Any, words: str) -> None:
    assert describe(kind) == words


def test_only_metas_that_constrain_are_kept() -> None:
    base, metas = unwrap(Annotated[int, doc("text"), Meta(ge=1)])
    assert (base, [meta.ge for meta in metas]) == (int, [1])
    assert unwrap(annotate(int, metas)) == (int, metas)
    assert annotate(int, []) is int


def test_notation_of_a_type() -> None:
    assert written_as(unwrap(Duration)[1]) == "duration"
    assert written_as(unwrap(Annotated[int, Meta(ge=1)])[1]) == ""


def test_anything_fits_a_type_of_no_shape() -> None:
    assert fits(Mapping((1, 1)), Any)
    assert fits(Mapping((1, 1)), dict[str, int])
    assert not fits(Mapping((1, 1)), int)
