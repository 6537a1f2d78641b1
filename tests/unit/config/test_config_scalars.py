"""Single values: what is taken for what, and what is said about the rest."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from pixiu_py.config.node import Scalar
from pixiu_py.config.scalars import RefusedError, decode_scalar, readable
from pixiu_py.config.shapes import unwrap
from pixiu_py.config.types import Duration, Secret, Size


class Colour(Enum):
    RED = "red"


def decode(value: Any, kind: Any, source: str = "") -> Any:
    return decode_scalar(Scalar((1, 1), value, str(value), source), *unwrap(kind))


def refusal(value: Any, kind: Any, source: str = "") -> str:
    with pytest.raises(RefusedError) as caught:
        decode(value, kind, source)
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "kind", "result"),
    [
        ("a", str, "a"),
        (2, int, 2),
        (2.0, int, 2),
        ("2", int, 2),
        (2, float, 2.0),
        ("2.5", float, 2.5),
        ("1e3", float, 1000.0),
        (True, bool, True),
        ("true", bool, True),
        ("False", bool, False),
        ("5s", Duration, 5.0),
        (0, Duration, 0.0),
        ("1KiB", Size, 1024),
        ("red", Colour, Colour.RED),
        ("a", Literal["a", "b"], "a"),
        ("key", Secret, Secret("key")),
        ("ab", Annotated[str, Meta(pattern="^a")], "ab"),
    ],
)
def test_numbers_and_booleans_may_be_written_as_text(value: Any, kind: Any, result: Any) -> None:
    found = decode(value, kind)
    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ("abc", int, "Expected int, got str"),
        (2.5, int, "Expected int, got 2.5"),
        (True, int, "Expected int, got True"),
        (None, int, "Expected int, got null"),
        (1, bool, "Expected bool, got 1"),
        ("maybe", bool, "Expected bool, got str"),
        (8080, str, "Expected str, got 8080; write it in quotes"),
        (True, str, "Expected str, got True; write it in quotes"),
        (None, str, "Expected str, got null"),
        (None, Secret, "Expected str, got null"),
        (float("inf"), float, "Expected a finite number, got inf"),
        ("nan", float, "Expected a finite number, got str"),
        (5, Duration, "Expected a duration such as 500ms, 20s or 1h30m, got 5"),
        ("5x", Size, "Expected a size such as 1048576, 64KiB or 10MB, got '5x'"),
        ("bleu", Literal["blue", "green", "red"], "Expected one of blue, green, red, got 'bleu'; did you mean 'blue'?"),
        ("x", Literal["", "http", "https"], "Expected http or https, got 'x'"),
        ("green", Colour, "Expected red, got 'green'"),
        (0, Annotated[int, Meta(ge=1)], "Expected int >= 1, got 0"),
        ("b", Annotated[str, Meta(pattern="^a")], "Expected str matching regex '^a', got str"),
        ("500ms", Annotated[Duration, Meta(ge=1)], "Expected seconds >= 1.0, got 500ms"),
    ],
)
def test_nonsense_is_refused_with_what_was_expected(value: Any, kind: Any, message: str) -> None:
    assert refusal(value, kind) == message


@pytest.mark.parametrize("kind", [str, Secret])
def test_text_from_outside_may_look_like_a_number(kind: Any) -> None:
    found = decode(8080, kind, "${PORT}")
    assert (found.reveal() if isinstance(found, Secret) else found) == "8080"


@pytest.mark.parametrize(
    ("value", "kind"), [("hush", int), ("hush", Duration), ("hush", Literal["hash"]), (17, Annotated[int, Meta(le=9)])]
)
def test_a_value_from_outside_is_never_shown(value: Any, kind: Any) -> None:
    message = refusal(value, kind, "${KEY}")
    assert message.endswith(", got the value from ${KEY}")
    assert str(value) not in message


def test_msgspecs_words_become_those_of_yaml() -> None:
    assert readable(msgspec.ValidationError("Expected `array`, got `int` - at `$[0]`")) == "Expected a list"
    assert readable(msgspec.ValidationError("Expected `object` of length >= 2")) == "Expected a mapping of length >= 2"
