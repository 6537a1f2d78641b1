"""What a token claims, and whether that is acceptable. Pure: time is an argument, in seconds since 1970."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pixiu_py.errors import PixiuError


class TokenError(PixiuError):
    """A token is not accepted. Of several, the one with the highest ``rank`` is worth telling. Its text is for the client."""

    rank = 0


class NoToken(TokenError):
    """There is none."""


class InvalidToken(TokenError):
    """There is one, and it is no good."""

    rank = 1


class UnknownKey(InvalidToken):
    """It is signed with a key that is not, or not yet, known."""


class NoKeys(TokenError):
    """It cannot be judged: its issuer's keys could not be fetched so far."""

    rank = 2


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token must claim."""

    #: ``iss``; empty: anything.
    issuer: str = ""
    #: One of them in ``aud``; empty: anything.
    audiences: Collection[str] = ()
    #: Seconds that the issuer's clock may be off.
    leeway: float = 0.0


def check(claims: Any, expected: Expected, now: float) -> None:
    """Accept the claims of a token, or raise ``InvalidToken`` (RFC 7519 §4.1)."""
    if not isinstance(claims, dict):
        raise InvalidToken("the token has no claims")
    expires, begins = _time(claims, "exp"), _time(claims, "nbf")
    if expires is not None and expires <= now - expected.leeway:
        raise InvalidToken("the token has expired")
    if begins is not None and begins > now + expected.leeway:
        raise InvalidToken("the token is not valid yet")
    if expected.issuer and claims.get("iss") != expected.issuer:
        raise InvalidToken("the token is of another issuer")
    if expected.audiences and not _audiences(claims).intersection(expected.audiences):
        raise InvalidToken("the token is for another audience")


def _time(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidToken(f"{name} of the token is no number")
    return value


def _audiences(claims: dict[str, Any]) -> set[str]:
    given = claims.get("aud")
    values = given if isinstance(given, list) else [given]
    return {value for value in values if isinstance(value, str)}
