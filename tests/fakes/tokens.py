"""Keys and tokens for tests."""

from __future__ import annotations

import json
import time
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm


class Signer:
    """An issuer's key."""

    def __init__(self, key: Any, algorithm: str, public: dict[str, Any], key_id: str) -> None:
        self._key = key
        self._algorithm = algorithm
        self._key_id = key_id
        #: The key as it stands in a key set.
        self.jwk = {**public, **({"kid": key_id} if key_id else {})}

    def token(self, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token that is good for an hour, unless ``claims`` say otherwise."""
        given = {"iss": "https://issuer.test", "sub": "ada", "exp": int(time.time()) + 3600, **claims}
        fields = {**({"kid": self._key_id} if self._key_id else {}), **(header or {})}
        present = {name: value for name, value in fields.items() if value is not None}
        return jwt.encode(given, self._key, self._algorithm, present)


@cache
def ec_signer(key_id: str = "one") -> Signer:
    """A signer on a curve: quick."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Signer(key, "ES256", ECAlgorithm.to_jwk(key.public_key(), as_dict=True), key_id)


@cache
def rsa_signer(key_id: str = "rsa", algorithm: str = "RS256", size: int = 2048) -> Signer:
    """A signer with an RSA key."""
    key = rsa.generate_private_key(65537, size)
    return Signer(key, algorithm, RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), key_id)


def secret_signer(secret: bytes = b"0123456789abcdef0123456789abcdef", key_id: str = "") -> Signer:
    """A signer with a shared secret."""
    encoded = jwt.utils.base64url_encode(secret).decode()
    return Signer(secret, "HS256", {"kty": "oct", "k": encoded}, key_id)


def key_set(*signers: Signer) -> str:
    """A key set as JSON text."""
    return json.dumps({"keys": [signer.jwk for signer in signers]})
