"""The tree of values."""

from __future__ import annotations

import pytest

from pixiu_py.config.node import Mapping, Node, Scalar, Sequence, Unreadable, from_outside, from_plain, noun, plain


def test_a_plain_value_survives_the_way_into_a_tree_and_back() -> None:
    value = {"a": [1, "x", None, {"b": True}], "c": 1.5}
    assert plain(from_plain(value, (1, 1))) == value


def test_all_of_a_made_tree_is_at_one_place() -> None:
    node = from_plain({"a": ("x",)}, (7, 3))
    assert isinstance(node, Mapping)
    inner = node.items["a"]
    assert isinstance(inner, Sequence)
    assert {node.place, node.keys["a"], inner.place, inner.items[0].place} == {(7, 3)}


@pytest.mark.parametrize(
    ("node", "word"),
    [
        (Scalar((1, 1), None, "~"), "null"),
        (Scalar((1, 1), "secret", "secret"), "str"),
        (Scalar((1, 1), 1, "1"), "int"),
        (Sequence((1, 1), []), "a list"),
        (Mapping((1, 1)), "a mapping"),
    ],
)
def test_a_noun_never_tells_the_value(node: Node, word: str) -> None:
    assert noun(node) == word


def test_an_unreadable_value_is_nothing() -> None:
    assert plain(Unreadable((1, 1))) is None


def test_what_came_from_outside_is_found_wherever_it_is() -> None:
    own = Scalar((1, 1), "a", "a")
    foreign = Scalar((1, 1), "b", "b", "${B}")
    empty = Scalar((1, 1), None, "", "${C}")
    tree = Mapping((1, 1), {"x": Sequence((1, 1), [own, foreign]), "y": empty, "z": Unreadable((1, 1))})
    assert list(from_outside(tree)) == [foreign]
