"""References to the environment, and files with secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixiu_py.config.env import MAX_SECRET_FILE, expand, read_secret

ENVIRON = {"HOST": "example.com", "EMPTY": "", "NESTED": "${HOST}"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain", "plain"),
        ("${HOST}", "example.com"),
        ("https://${HOST}/v1", "https://example.com/v1"),
        ("${HOST}${HOST}", "example.comexample.com"),
        ("${UNSET:-other}", "other"),
        ("${UNSET:-}", ""),
        ("${UNSET:-a:-b c}", "a:-b c"),
        ("${HOST:-other}", "example.com"),
        ("${EMPTY}", ""),
        ("$HOST and $1", "$HOST and $1"),
    ],
)
def test_references_are_replaced_as_in_a_shell(text: str, expanded: str) -> None:
    result = expand(text, ENVIRON)
    assert (result.text, result.problems) == (expanded, [])


def test_the_default_also_stands_in_for_an_empty_value() -> None:
    assert expand("${EMPTY:-other}", ENVIRON).text == "other"


def test_two_dollars_make_a_plain_reference() -> None:
    result = expand("$${HOST} $${", ENVIRON)
    assert (result.text, result.source) == ("${HOST} ${", "")


def test_a_value_is_not_expanded_again() -> None:
    assert expand("${NESTED}", ENVIRON).text == "${HOST}"


@pytest.mark.parametrize("text", ["${", "${HOST", "${}", "${1}", "${A B}", "${A-b}", "${A:-${HOST}}"])
def test_a_malformed_reference_is_a_problem(text: str) -> None:
    assert "write $${" in expand(text, ENVIRON).problems[0]


def test_an_unset_name_without_default_is_a_problem() -> None:
    assert expand("${UNSET}", ENVIRON).problems == [
        "The environment variable UNSET is not set, and ${UNSET} has no default"
    ]


def test_source_names_the_references_and_values_from_outside_are_hidden() -> None:
    result = expand("${HOST}:${UNSET:-80}", ENVIRON)
    assert result.source == "${HOST} ${UNSET}"
    assert result.hidden == [("example.com", "${HOST}")]


@pytest.mark.parametrize(
    ("content", "text"), [(b"key\n", "key"), (b"key\r\n", "key"), (b"key\n\n", "key\n"), (b" key ", " key "), (b"", "")]
)
def test_one_newline_at_the_end_of_a_secret_file_is_not_part_of_it(content: bytes, text: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    assert read_secret(path) == text


def test_a_secret_file_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"x" * MAX_SECRET_FILE)
    assert len(read_secret(path)) == MAX_SECRET_FILE
    path.write_bytes(b"x" * (MAX_SECRET_FILE + 1))
    with pytest.raises(ValueError, match="larger"):
        read_secret(path)


def test_a_secret_file_is_text(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="UTF-8"):
        read_secret(path)
