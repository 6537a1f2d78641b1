"""Whose request it is: the owner of its API key. Keys are kept as digests only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from pixiu_py.config.types import Model, Secret, doc
from pixiu_py.stores.ledger.keys import key_digest

if TYPE_CHECKING:
    from pixiu_py.http.headers import Headers


class PrincipalConfig(Model, frozen=True):
    """A key and its owner. All keys of one owner share what is cached."""

    key: Annotated[Secret, doc("The API key that clients send.")]
    principal: Annotated[str, Meta(min_length=1, max_length=256, description="Whose it is.")]


class Principals:
    """The owners of keys. ``elsewhere`` knows more of them, by digest; those of the configuration come first."""

    __slots__ = ("_by_digest", "_elsewhere")

    def __init__(self, configured: Iterable[PrincipalConfig], elsewhere: Callable[[bytes], str]) -> None:
        self._by_digest = {key_digest(entry.key.reveal()): entry.principal for entry in configured}
        self._elsewhere = elsewhere

    def find(self, key: str) -> str:
        """The owner of a key; empty when nobody is known."""
        if not key:
            return ""
        digest = key_digest(key)
        return self._by_digest.get(digest) or self._elsewhere(digest)


def api_key(headers: Headers) -> str:
    """The key that a request brings, wherever its SDK puts it; empty when there is none."""
    given = headers.get("authorization")
    if given is not None and given[:7].lower() == "bearer ":
        return given[7:].strip()
    return (headers.get("x-api-key") or headers.get("api-key") or "").strip()
