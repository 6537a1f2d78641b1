"""Rules of keys: what a set may hold, which key verifies which token, and what no token can talk them into."""

from __future__ import annotations

import json
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from pixiu_py.filters.http.jwt.claims import InvalidToken, UnknownKey
from pixiu_py.filters.http.jwt.keys import MAX_KEYS, KeySet
from tests.fakes.tokens import Signer, ec_signer, key_set, rsa_signer, secret_signer


def ed_signer() -> Signer:
    """A signer with an Edwards curve."""
    key = ed25519.Ed25519PrivateKey.generate()
    return Signer(key, "EdDSA", OKPAlgorithm.to_jwk(key.public_key(), as_dict=True), "ed")


def ec384_signer() -> Signer:
    """A signer with a larger curve."""
    key = ec.generate_private_key(ec.SECP384R1())
    return Signer(key, "ES384", ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "384")


@pytest.mark.parametrize("make", [ec_signer, ec384_signer, rsa_signer, ed_signer, secret_signer])
def test_a_signature_is_verified(make: Any) -> None:
    """Of each family; a changed payload is noticed."""
    signer = make()
    keys = KeySet(key_set(signer), shared_secrets=True)
    token = signer.token(sub="ada")
    assert orjson.loads(keys.payload(token))["sub"] == "ada"
    head, _, signature = token.split(".")
    other = signer.token(sub="eve").split(".")[1]
    with pytest.raises(InvalidToken, match="signature of the token is wrong"):
        keys.payload(f"{head}.{other}.{signature}")


def test_the_key_is_found_by_its_id() -> None:
    """Or among those that have none; a token without an id is tried with all."""
    first, second = ec_signer("one"), ec_signer("two")
    keys = KeySet(key_set(first, second))
    assert keys.payload(second.token())
    assert keys.payload(second.token(header={"kid": None}))
    assert KeySet(json.dumps({"keys": [{**first.jwk, "kid": None}]})).payload(first.token())
    with pytest.raises(InvalidToken, match="signature"):
        keys.payload(second.token(header={"kid": "one"}))
    with pytest.raises(UnknownKey):
        KeySet(key_set(first)).payload(second.token())


@pytest.mark.parametrize("algorithm", ["RS512", "PS256"])
def test_an_rsa_key_without_an_algorithm_is_good_for_all_of_its_family(algorithm: str) -> None:
    signer = rsa_signer("rsa", algorithm)
    assert KeySet(key_set(signer)).payload(signer.token())
    with pytest.raises(UnknownKey):
        KeySet(json.dumps({"keys": [{**signer.jwk, "alg": "RS256"}]})).payload(signer.token())


def test_a_public_key_is_never_a_shared_secret() -> None:
    """The classic: HMAC with the text of the public key, and no signature at all."""
    signer = rsa_signer()
    keys = KeySet(key_set(signer), shared_secrets=True)
    public = jwt.PyJWK(signer.jwk).key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head = jwt.utils.base64url_encode(b'{"alg":"HS256","kid":"rsa"}')
    body = jwt.utils.base64url_encode(b"{}")
    mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(head + b"." + body, public)
    for token in (
        b".".join((head, body, jwt.utils.base64url_encode(mac))).decode(),
        jwt.encode({}, None, "none"),
        jwt.encode({}, None, "none", {"kid": "rsa"}),
    ):
        with pytest.raises(UnknownKey):
            keys.payload(token)


def test_a_secret_that_anybody_can_fetch_is_none() -> None:
    with pytest.raises(ValueError, match="no key in it that can be used"):
        KeySet(key_set(secret_signer()))


@pytest.mark.parametrize(
    "token", ["", "a", "a.b", "a.b.c", "a.b.c.d", "é.é.é", "e30.e30.e30", "bnVsbA.e30.AA", "!.!.!", "\udcff.a.b"]
)
def test_rubbish_is_an_invalid_token_and_nothing_worse(token: str) -> None:
    with pytest.raises(InvalidToken):
        KeySet(key_set(ec_signer())).payload(token)


@pytest.mark.parametrize("header", [{"kid": 7}, {"kid": ["one"]}, {"crit": ["x"], "x": 1}, {"crit": []}])
def test_a_header_that_cannot_be_honoured_is_refused(header: dict[str, Any]) -> None:
    """RFC 7515 §4.1.11: what is critical must be understood."""
    signer = ec_signer()
    head = jwt.utils.base64url_encode(json.dumps({"alg": "ES256", "kid": "one", **header}).encode()).decode()
    with pytest.raises(InvalidToken):
        KeySet(key_set(signer)).payload(".".join((head, *signer.token().split(".")[1:])))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[]", "no list of keys"),
        ('{"keys": {}}', "no list of keys"),
        ('{"keys": []}', "no key in it"),
        ('{"keys": [1, {}, {"kty": "EC", "crv": "P-256"}, {"kty": "RSA", "n": "!", "e": 1}]}', "no key in it"),
        ('{"keys": [{"kty": ["EC"], "crv": {}, "alg": 5, "kid": {}}]}', "no key in it"),
        (json.dumps({"keys": [{}] * (MAX_KEYS + 1)}), f"more than {MAX_KEYS} keys"),
    ],
)
def test_a_set_that_is_of_no_use(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KeySet(text)


@pytest.mark.parametrize("change", [{"use": "enc"}, {"key_ops": ["encrypt"]}, {"alg": "RSA-OAEP"}, {"y": "AA"}])
def test_a_key_that_is_not_for_signatures_is_left_out(change: dict[str, Any]) -> None:
    """The others of the set stay good."""
    spoiled, good = {**ec_signer("one").jwk, **change}, ec_signer("two")
    keys = KeySet(json.dumps({"keys": [spoiled, good.jwk]}))
    assert keys.payload(good.token())
    with pytest.raises(UnknownKey):
        keys.payload(ec_signer("one").token())


def test_weak_keys_are_left_out() -> None:
    """Short RSA keys and secrets; a secret may be long enough for one algorithm and not for another."""
    for weak in (rsa_signer("weak", size=1024), secret_signer(b"short")):
        with pytest.raises(ValueError, match="no key in it"):
            KeySet(key_set(weak), shared_secrets=True)
    secret = secret_signer()
    keys = KeySet(key_set(secret), shared_secrets=True)
    assert keys.payload(secret.token())
    head = jwt.utils.base64url_encode(b'{"alg":"HS512"}').decode()
    with pytest.raises(UnknownKey):
        keys.payload(".".join((head, *secret.token().split(".")[1:])))


def test_the_private_half_of_a_key_is_not_used() -> None:
    """Somebody has put the whole pair into the set: it verifies all the same."""
    key = ec.generate_private_key(ec.SECP256R1())
    signer = Signer(key, "ES256", ECAlgorithm.to_jwk(key, as_dict=True), "one")
    assert "d" in signer.jwk
    assert KeySet(key_set(signer)).payload(signer.token())
