"""Durations, sizes, URLs, secrets."""

from __future__ import annotations

from typing import Any

import pytest

from pixiu_py.config.model import HashKey
from pixiu_py.config.types import Secret, check_url, is_field_name, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("200ms", 0.2), ("1h30m", 5400), ("1.5s", 1.5), ("5us", 5e-6), ("5µs", 5e-6), ("7ns", 7e-9),
     ("0", 0), (0, 0), ("0s", 0), (" 5s ", 5)],
)  # fmt: skip
def test_durations_are_written_as_in_go(text: Any, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("value", ["", "5", 5, 1.5, "s", "5 s", "-5s", "5s3", "1d", True, False, None, [], "5S"])
def test_a_duration_needs_its_unit(value: Any) -> None:
    with pytest.raises(ValueError, match="Expected a duration"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("text", "size"),
    [(0, 0), (1024, 1024), ("1024", 1024), ("64KiB", 65536), ("64kib", 65536), ("10MB", 10**7), ("1 GiB", 2**30),
     ("3b", 3)],
)  # fmt: skip
def test_sizes_have_units_of_both_kinds(text: Any, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("value", ["", "KiB", -1, 1.5, "1.5MB", "1TB", True, None, [], "-5"])
def test_other_sizes_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="Expected a size"):
        parse_size(value)


def test_a_secret_shows_itself_only_when_asked() -> None:
    secret = Secret("sk-123")
    assert (str(secret), repr(secret), f"{secret}", f"{[secret]}") == ("***", "***", "***", "[***]")
    assert secret.reveal() == "sk-123"


def test_secrets_compare_by_their_text() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert bool(Secret("a"))
    assert not Secret("")
    assert Secret("a") != "a"


@pytest.mark.parametrize("url", ["http://h", "HTTPS://h:1/v1", " http://user:pass@[::1]:9/ "])
def test_urls_are_of_http(url: str) -> None:
    check_url("key", url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h:80",
        "ftp://h",
        "http://",
        "http://h:x",
        "http://h:0",
        "http://h:99999",
        "http://a b/",
        "http://[::1",
        "http://a..é/",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="key: Expected a URL"):
        check_url("key", url)


def test_url_has_one_credential() -> None:
    """A user in it would be dropped silently where a key goes along."""
    check_url("key", "https://h/v1", Secret("s"))
    check_url("key", "https://u:p@h/v1", Secret(""))
    with pytest.raises(ValueError, match="two credentials"):
        check_url("key", "https://u:p@h/v1", Secret("s"))


@pytest.mark.parametrize(
    ("name", "is_name"), [("X-Tenant", True), ("x_1", True), ("", False), ("a b", False), ("a:", False), ("é", False)]
)
def test_names_of_header_fields(name: str, is_name: bool) -> None:
    """A token, as RFC 9110 has it."""
    assert is_field_name(name) is is_name


def test_a_hash_key_that_no_client_can_send_is_refused() -> None:
    """All requests would go to one endpoint."""
    with pytest.raises(ValueError, match="'x session' is no name of a header"):
        HashKey(header="x session")
    assert HashKey(cookie="x session").header == ""
