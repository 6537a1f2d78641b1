"""YAML to a tree with places: resolution, references, merge keys, limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pixiu_py.config.document import MAX_DEPTH, MAX_VALUES, parse, place_of
from pixiu_py.config.node import Mapping, Scalar, plain
from pixiu_py.config.report import Report


def read(text: str, folder: Path | None = None, **environ: str) -> tuple[Any, list[str]]:
    """The plain value of ``text``, and the problems as ``line:column: path: message``."""
    report = Report("f")
    root = parse(text, report, environ, folder or Path())
    return (plain(root) if root else None), [str(problem).removeprefix("f:") for problem in report.problems]


def scalar(text: str, **environ: str) -> Scalar:
    root = parse(f"key: {text}\n", Report("f"), environ, Path())
    assert root is not None
    node = root.items["key"]
    assert isinstance(node, Scalar)
    return node


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8080", 8080),
        ("0x10", 16),
        ("1.5", 1.5),
        ("on", True),
        ("no", False),
        ("~", None),
        ("'8080'", "8080"),
        ("!!str 8080", "8080"),
        ("!!int '8080'", 8080),
        ("2026-11-20", "2026-11-20"),
        ("1e3", "1e3"),
    ],
)
def test_plain_scalars_mean_what_the_safe_loader_says_but_dates_stay_text(text: str, value: Any) -> None:
    found = scalar(text).value
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "value"), [("${PORT}", 8080), ("'${PORT}'", "8080"), ("${PORT}0", 80800), ("${NO:-true}", True)]
)
def test_a_plain_scalar_is_resolved_after_expansion(text: str, value: Any) -> None:
    assert scalar(text, PORT="8080").value == value


def test_expansion_cannot_bring_structure_into_the_document() -> None:
    assert scalar("${TEXT}", TEXT="{a: [1]}\nb: 2").value == "{a: [1]}\nb: 2"


def test_keys_and_comments_are_not_expanded() -> None:
    assert read("${KEY}: 1  # ${UNSET}\n") == ({"${KEY}": 1}, [])


def test_keys_are_the_texts_that_are_written() -> None:
    assert read("on: 1\n8080: 2\n~: 3\n") == ({"on": 1, "8080": 2, "~": 3}, [])


def test_places_count_from_one_and_point_at_key_and_value() -> None:
    root = parse("a:\n  bc:   d\n", Report("f"), {}, Path())
    assert root is not None
    inner = root.items["a"]
    assert isinstance(inner, Mapping)
    assert (root.place, inner.place, inner.keys["bc"], inner.items["bc"].place) == ((1, 1), (2, 3), (2, 3), (2, 9))


def test_columns_count_characters_not_bytes() -> None:
    assert read("äöü: {a: *x}\n")[1] == ["1:10: äöü.a: Not YAML: no anchor 'x' before this alias"]


# --- aliases and merging ---------------------------------------------------------------------------------------------


def test_aliases_stand_for_their_anchors() -> None:
    assert read("a: &x [1, {b: 2}]\nc: *x\n") == ({"a": [1, {"b": 2}], "c": [1, {"b": 2}]}, [])


def test_own_keys_win_over_merged_ones_and_earlier_over_later() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc:\n  <<: [*a, *b]\n  x: 3\n"
    value, problems = read(text)
    assert (value["c"], problems) == ({"x": 3, "y": 1, "z": 2}, [])


def test_a_quoted_merge_sign_is_a_key_like_any_other() -> None:
    assert read("'<<': {a: 1}\n") == ({"<<": {"a": 1}}, [])


def test_an_anchored_key_can_be_used_again() -> None:
    assert read("&k name: 1\nb: *k\n") == ({"name": 1, "b": "name"}, [])


def test_an_alias_bomb_is_refused_quickly() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    value, problems = read("\n".join(lines))
    assert value is None
    assert [problem.split(": ")[-1] for problem in problems] == [
        f"More than {MAX_VALUES} values, counting aliases as often as they are used"
    ]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_is_refused_however_deep(opening: str) -> None:
    """By us, or by a YAML library that looks ahead and has a limit of its own."""
    value, problems = read(opening * 200_000)
    assert value is None
    assert f"Nested deeper than {MAX_DEPTH} levels" in problems[0] or "maximum nesting depth" in problems[0]


def test_the_allowed_depth_is_allowed() -> None:
    levels = MAX_DEPTH - 2  # a mapping around them, a scalar inside
    assert read("a: " + "[" * levels + "x" + "]" * levels)[1] == []
    assert len(read("a: " + "[" * (levels + 1) + "x" + "]" * (levels + 1))[1]) == 1


def test_aliases_cannot_nest_deeper_than_text() -> None:
    lines = ["a0: &a0 x"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 100)]
    assert f"Nested deeper than {MAX_DEPTH} levels" in read("\n".join(lines))[1][0]


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1:1: The file is empty"),
        ("# only\n", "1:1: The file is empty"),
        ("~", "1:1: The file is empty"),
        ("text", "1:1: Expected a mapping at the top level, got str"),
        ("[a]", "1:1: Expected a mapping at the top level, got a list"),
        ("a: 1\n---\nb: 2\n", "2:1: Expected one document, got a second one"),
        ("a: 1\na: 2\n", "2:1: a: The key 'a' is already given on line 1"),
        ("a: {b: 1, 'b': 2}\n", "1:11: a.b: The key 'b' is already given on line 1"),
        ("a: &x [*x]\n", "1:8: a[0]: The alias 'x' stands inside its own anchor"),
        ("a: *x\n", "1:4: a: Not YAML: no anchor 'x' before this alias"),
        ("a: [1\n", "2:1: Not YAML: did not find expected ',' or ']' while parsing a flow sequence"),
        ("a: \x07", "1:4: Not YAML: the character U+0007"),
        ("a: \ud800", "1:4: Not YAML: the character U+D800"),
        ("[a]: 1\n", "1:1: Expected text as a key"),
        ("a: {<<: 1}\n", "1:5: a: << takes a mapping or a list of mappings"),
        ("a: !!python/object:os.system x\n", "1:4: a: The tag !!python/object:os.system is not known here"),
        ("a: !mine {}\n", "1:4: a: The tag !mine is not known here"),
        ("a: !!int x\n", "1:4: a: Expected !!int, got 'x'"),
        ("a: !!bool x\n", "1:4: a: Expected !!bool, got 'x'"),
        ("a: ${UNSET}\n", "1:4: a: The environment variable UNSET is not set, and ${UNSET} has no default"),
    ],
)
def test_what_cannot_be_read_has_a_place_and_a_sentence(text: str, problem: str) -> None:
    assert read(text)[1] == [problem]


def test_a_tagged_value_from_outside_is_not_shown() -> None:
    assert read("a: !!int ${WORD}\n", WORD="secret")[1] == ["1:4: a: Expected !!int, got the value from ${WORD}"]


def test_place_of_a_character() -> None:
    assert [place_of("ab\ncd", position) for position in (0, 1, 3, 4)] == [(1, 1), (1, 2), (2, 1), (2, 2)]


# --- !file -----------------------------------------------------------------------------------------------------------


def test_file_reads_text_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text("0123\n")
    assert read("a: !file key.txt\nb: !file ${NAME}.txt\n", tmp_path, NAME="key") == ({"a": "0123", "b": "0123"}, [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: !file none\n", "1:4: a: !file none cannot be read: No such file or directory"),
        ("a: !file .\n", "1:4: a: !file . cannot be read: Is a directory"),
        ("a: !file ''\n", "1:4: a: !file  needs the path of a file"),
        ("a: !file ${DIR}/none\n", "1:4: a: !file ${DIR}/none cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_problem(text: str, problem: str, tmp_path: Path) -> None:
    assert read(text, tmp_path, DIR="hid")[1] == [problem]
