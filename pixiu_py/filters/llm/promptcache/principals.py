"""Whose request it is: the owner of its API key. Keys are kept as digests only."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from pixiu_py.config.types import Model, Secret, doc

if TYPE_CHECKING:
    from pixiu_py.http.headers import Headers


class PrincipalConfig(Model, frozen=True):
    """A key and its owner. All keys of one owner share what is cached."""

    key: Annotated[Secret, doc("The API key that clients send.")]
    principal: Annotated[str, Meta(min_length=1, max_length=256, description="Whose it is.")]


class Principals:
    """The owners of keys."""

    __slots__ = ("_by_digest",)

    def __init__(self, configured: Iterable[PrincipalConfig]) -> None:
        self._by_digest = {digest(entry.key.reveal()): entry.principal for entry in configured}

    def find(self, key: str) -> str:
        """The owner of a key; empty when nobody is known."""
        return self._by_digest.get(digest(key), "") if key else ""


def digest(key: str) -> bytes:
    """What stands for a key wherever it is kept."""
    return sha256(key.encode("utf-8", "surrogateescape")).digest()


def api_key(headers: Headers) -> str:
    """The key that a request brings, wherever its SDK puts it; empty when there is none."""
    given = headers.get("authorization")
    if given is not None and given[:7].lower() == "bearer ":
        return given[7:].strip()
    return (headers.get("x-api-key") or headers.get("api-key") or "").strip()
