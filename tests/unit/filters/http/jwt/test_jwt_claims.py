"""Rules of claims: times with leeway, issuer, audience."""

from __future__ import annotations

from typing import Any

import pytest

from pixiu_py.filters.http.jwt.claims import Expected, InvalidToken, check

NOW = 1000.0
EXPECTED = Expected("me", frozenset(("api", "web")), leeway=60.0)
GOOD = {"iss": "me", "aud": "api", "exp": 1000, "nbf": 1000}


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"exp": 940.5},
        {"nbf": 1060},
        {"exp": 10**400},
        {"exp": None},
        {"aud": ["other", "web"]},
        {"sub": 1, "anything": {}},
    ],
)
def test_good_claims(claims: dict[str, Any]) -> None:
    """With ``exp`` and ``nbf`` just within the leeway."""
    check({**GOOD, **claims}, EXPECTED, NOW)


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"exp": 940}, "has expired"),
        ({"nbf": 1060.1}, "not valid yet"),
        ({"exp": "2000"}, "exp of the token is no number"),
        ({"nbf": True}, "nbf of the token is no number"),
        ({"iss": "you"}, "another issuer"),
        ({"iss": ["me"]}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"aud": "other"}, "another audience"),
        ({"aud": None}, "another audience"),
        ({"aud": [["api"], {}]}, "another audience"),
    ],
)
def test_bad_claims(claims: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidToken, match=message):
        check({**GOOD, **claims}, EXPECTED, NOW)


@pytest.mark.parametrize("claims", [[], "text", 1, None])
def test_claims_are_an_object(claims: Any) -> None:
    with pytest.raises(InvalidToken, match="no claims"):
        check(claims, EXPECTED, NOW)


def test_what_is_not_expected_is_not_looked_at() -> None:
    """Nor must a token have times."""
    check({"iss": 1, "aud": 2}, Expected(), NOW)
    check({}, Expected(), NOW)
