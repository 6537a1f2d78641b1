"""Rules of the configuration: what cannot work is refused, with a sentence."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import pytest

from pixiu_py.config.types import Secret
from pixiu_py.filters.http.jwt.model import HttpUri, JwtConfig, LocalJwks, Provider, Requires, Rule
from tests.fakes.tokens import ec_signer, key_set

KEYS = LocalJwks(inline_string=Secret(key_set(ec_signer())))
PROVIDER = Provider(name="p", local_jwks=KEYS)


def rule(prefix: str = "/", **requires: Any) -> Rule:
    """A rule as it is written."""
    written = {"match": {"prefix": prefix}, **({"requires": requires} if requires else {})}
    return msgspec.convert(written, Rule)


ANY = rule(requires_any={"provider_name": "p"})


def test_one_provider_or_several() -> None:
    """Pixiu has a block where Envoy has a list."""
    several = rule(requires_any=[{"provider_name": "p"}, {"provider_name": "q"}])
    assert ANY.requires is not None
    assert several.requires is not None
    assert (ANY.requires.any_of, several.requires.any_of) == (["p"], ["p", "q"])
    assert rule().requires is None


def test_requires_that_requires_nothing_is_refused() -> None:
    """It might mean all or nothing."""
    with pytest.raises(ValueError, match="names no provider"):
        Requires()


@pytest.mark.parametrize(
    ("rules", "providers", "message"),
    [
        ([ANY], [], "'p', which is not there"),
        ([rule(requires_all=[{"provider_name": "q"}])], [PROVIDER], "'q', which is not there"),
        ([ANY], [PROVIDER, PROVIDER], "provider 'p' is there twice"),
        ([rule("/a"), rule("/a/")], [PROVIDER], "prefix 'a' is there twice"),
    ],
)
def test_rules_and_providers_fit_together(rules: list[Rule], providers: list[Provider], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        JwtConfig(rules=rules, providers=providers)


def test_keys_are_local_or_remote() -> None:
    with pytest.raises(ValueError, match="'p' needs either local_jwks or remote_jwks"):
        Provider(name="p")
    with pytest.raises(ValueError, match="needs either"):
        msgspec.structs.replace(PROVIDER, remote_jwks=msgspec.convert({"http_uri": {"uri": "http://a/"}}, Any))


def test_a_local_key_set_is_read_with_the_configuration() -> None:
    """Nothing of it is in the message."""
    broken = Provider(name="p", local_jwks=LocalJwks(inline_string=Secret('{"keys": [{"kty": "oct", "k": "c2Vj"}]}')))
    with pytest.raises(ValueError, match="local_jwks of provider 'p': there is no key in it") as raised:
        JwtConfig(rules=[ANY], providers=[broken])
    assert "c2Vj" not in str(raised.value)


@pytest.mark.parametrize("uri", ["", "/keys", "ftp://a/keys", "https://", "https:///keys"])
def test_a_url_is_one(uri: str) -> None:
    with pytest.raises(ValueError, match="begins with http:// or https://"):
        HttpUri(uri=uri)


@pytest.mark.parametrize("missing", ["jwt", "cryptography"])
def test_without_the_extra_the_command_is_told(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "pixiu_py.filters.http.jwt.keys", raising=False)
    with pytest.raises(ValueError, match=r"pip install 'pixiu-py\[jwt\]'"):
        JwtConfig(rules=[ANY], providers=[PROVIDER])
