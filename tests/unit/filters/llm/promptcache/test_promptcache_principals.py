"""Whose a key is; and that it is kept nowhere."""

from __future__ import annotations

import gc
from types import FunctionType
from typing import Any

import pytest

from pixiu_py.config.types import Secret
from pixiu_py.filters.llm.promptcache.principals import PrincipalConfig, Principals, api_key
from pixiu_py.http.headers import Headers
from pixiu_py.stores.ledger.keys import key_digest

#: Digest of a key → its owner: what the ledger knows.
ELSEWHERE = {key_digest("one"): "mallory", key_digest("four"): "carol"}


def table(**keys: str) -> Principals:
    configured = [PrincipalConfig(key=Secret(key), principal=owner) for key, owner in keys.items()]
    return Principals(configured, lambda digest: ELSEWHERE.get(digest, ""))


def test_a_known_key_has_its_owner_and_owners_may_have_several() -> None:
    principals = table(one="alice", two="alice", three="bob")
    assert [principals.find(key) for key in ("one", "two", "three")] == ["alice", "alice", "bob"]


def test_the_ledger_knows_more_and_the_configuration_comes_first() -> None:
    assert [table(one="alice").find(key) for key in ("one", "four")] == ["alice", "carol"]


@pytest.mark.parametrize("key", ["", "unknown", "one ", "\udcff"])
def test_any_other_key_is_nobodys(key: str) -> None:
    assert table(one="alice").find(key) == ""


def test_the_key_itself_is_not_kept() -> None:
    """Neither the configured one nor one that was asked about."""
    principals = table(**{"sk-secret-of-alice": "alice"})
    principals.find("sk-secret-of-alice")
    held: list[Any] = []
    waiting: list[Any] = [principals]
    while waiting:
        thing = waiting.pop()
        if isinstance(thing, (str, bytes)):
            held.append(thing)
        elif not isinstance(thing, (type, FunctionType)):  # a function leads to all modules
            waiting += gc.get_referents(thing)
    assert "alice" in held
    assert not [thing for thing in held if "sk-secret" in str(thing)]


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"Authorization": "Bearer  abc "}, "abc"),
        ({"authorization": "bearer abc"}, "abc"),
        ({"Authorization": "Basic abc"}, ""),
        ({"Authorization": "Basic abc", "x-api-key": "def"}, "def"),
        ({"X-Api-Key": " abc"}, "abc"),
        ({"api-key": "abc"}, "abc"),
        ({}, ""),
    ],
)
def test_a_key_is_found_wherever_sdks_put_it(fields: dict[str, str], key: str) -> None:
    assert api_key(Headers.of(fields)) == key
