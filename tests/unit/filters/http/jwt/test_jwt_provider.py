"""Rules of a provider: where it looks for its token, and what it makes of it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import jwt
import pytest

from pixiu_py.config.types import Secret
from pixiu_py.filters.http.jwt.claims import InvalidToken, NoKeys, NoToken, TokenError, UnknownKey
from pixiu_py.filters.http.jwt.model import FromHeaders, HttpUri, LocalJwks, Provider, RemoteJwks
from pixiu_py.filters.http.jwt.provider import Provider as RunningProvider
from pixiu_py.http.headers import Headers
from tests.fakes.tokens import ec_signer, key_set, secret_signer

SIGNER = ec_signer()
REMOTE = RemoteJwks(http_uri=HttpUri(uri="http://127.0.0.1:1/"))


def provider(**settings: Any) -> RunningProvider:
    """One with the signer's key."""
    keys = {} if "remote_jwks" in settings else {"local_jwks": LocalJwks(inline_string=Secret(key_set(SIGNER)))}
    return RunningProvider(Provider(name="p", **keys, **settings))


def headers(*values: str, name: str = "Authorization") -> Headers:
    """Headers with these values of one field."""
    return Headers([(name.encode(), value.encode()) for value in values])


@pytest.mark.parametrize("prefix", ["Bearer ", "bearer ", "BEARER   "])
def test_the_token_is_taken_and_the_claims_are_handed_on(prefix: str) -> None:
    """As they stand in the token: base64url, without padding."""
    accepted = provider(forward_payload_header="x-claims").accept(
        headers(prefix + SIGNER.token(sub="ada")), time.time()
    )
    fields = headers("Bearer x")
    accepted.rewrite(fields)
    payload = fields.get("x-claims") or ""
    assert json.loads(jwt.utils.base64url_decode(payload))["sub"] == "ada"
    assert "=" not in payload
    assert "authorization" not in fields


def test_a_token_that_is_to_go_on_goes_on() -> None:
    fields = headers("Bearer " + SIGNER.token())
    provider(forward=True).accept(fields, time.time()).rewrite(fields)
    assert [name for name, _ in fields] == ["Authorization"]


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ((), NoToken),
        (("Basic YTpi",), NoToken),
        (("Bearer",), NoToken),
        (("Bearer ",), InvalidToken),
        (("Bearer {token}", "Bearer {token}"), InvalidToken),
        (("Bearer {token}x",), InvalidToken),
        (("Bearer {token}, Bearer {token}",), InvalidToken),
        (("Bearer {other}",), UnknownKey),
    ],
)
def test_what_is_not_exactly_one_good_token_is_refused(values: Sequence[str], error: type[TokenError]) -> None:
    tokens = {"token": SIGNER.token(), "other": ec_signer("other").token()}
    with pytest.raises(error) as raised:
        provider().accept(headers(*(value.format(**tokens) for value in values)), time.time())
    assert type(raised.value) is error


def test_another_header_without_a_prefix() -> None:
    place = FromHeaders(name="X-Token", value_prefix="")
    assert provider(from_headers=place).accept(headers(SIGNER.token(), name="x-token"), time.time())


@pytest.mark.parametrize(
    ("settings", "claims", "message"),
    [
        ({"issuer": "me"}, {}, "another issuer"),
        ({"audiences": ["api"]}, {"aud": ["web"]}, "another audience"),
        ({"leeway": 0.0}, {"exp": 1}, "expired"),
        ({"leeway": 0.0}, {"nbf": 10**10}, "not valid yet"),
    ],
)
def test_claims_are_judged(settings: dict[str, Any], claims: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidToken, match=message):
        provider(**settings).accept(headers("Bearer " + SIGNER.token(**claims)), time.time())


def test_a_shared_secret_may_be_in_the_configuration() -> None:
    signer = secret_signer()
    local = LocalJwks(inline_string=Secret(key_set(signer)))
    made = RunningProvider(Provider(name="p", local_jwks=local))
    assert made.accept(headers("Bearer " + signer.token()), time.time())


def test_without_keys_a_token_cannot_be_judged() -> None:
    """Whoever has none is told so, all the same."""
    remote = provider(remote_jwks=REMOTE)
    with pytest.raises(NoKeys):
        remote.accept(headers("Bearer x"), 0.0)
    with pytest.raises(NoToken):
        remote.accept(headers(), 0.0)


def test_an_unknown_key_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only that: a wrong signature or an old token is no reason to fetch anything."""
    remote = provider(remote_jwks=REMOTE)
    source = remote._remote
    assert source is not None
    source.keys = provider()._local
    for token, wanted in ((SIGNER.token(exp=1), False), (ec_signer("other").token(), True)):
        with pytest.raises(InvalidToken):
            remote.accept(headers("Bearer " + token), time.time())
        assert source._wanted.is_set() is wanted
