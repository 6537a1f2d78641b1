"""What a configuration may write into a header, and what would break the message."""

from __future__ import annotations

import pytest

from pixiu_py.filters.http.fields import check_fields


def test_ordinary_fields_may_be_written() -> None:
    """Any name and any text, an empty value included."""
    check_fields([("X-A", "1"), ("x-b", ""), ("Cache-Control", "no-store"), ("X-Utf", "é")])


@pytest.mark.parametrize("name", ["", "x y", "x:y", "x\ty", "é", "a\r\nb"])
def test_what_is_no_name_is_refused(name: str) -> None:
    """A name that is none would move the border between name and value, or between two fields."""
    with pytest.raises(ValueError):
        check_fields([(name, "1")])


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "CONNECTION", "Host", "upgrade"])
def test_framing_and_connection_are_not_a_filters_business(name: str) -> None:
    """In any spelling."""
    with pytest.raises(ValueError, match="cannot be changed here"):
        check_fields([(name, "1")])


@pytest.mark.parametrize("value", ["a\r\nX-B: 2", "a\nb", "a\0b"])
def test_value_cannot_split_the_head(value: str) -> None:
    """One value stays one value."""
    with pytest.raises(ValueError):
        check_fields([("X-A", value)])
