"""JSON Web Key Sets (RFC 7517), and signatures that are made with their keys (RFC 7515)."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

import orjson
from jwt import PyJWK, PyJWS
from jwt.exceptions import PyJWTError

from pixiu_py.filters.http.jwt.claims import InvalidToken, UnknownKey

#: Most keys of a set: a token without a key id is tried with all that fit.
MAX_KEYS: Final = 64

#: (key type, curve) → the algorithms for which such a key may be used when it does not name one itself.
_ALGORITHMS: Final = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
    ("oct", None): ("HS256", "HS384", "HS512"),
}
_PRIVATE: Final = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth"))


class KeySet:
    """Keys by algorithm. ``shared_secrets``: symmetric keys count, too; never in a set that anybody can fetch."""

    def __init__(self, text: str | bytes, *, shared_secrets: bool = False) -> None:
        """Read a key set. Raises ``ValueError`` when it has no key that can be used, or too many."""
        self._jws = PyJWS()
        self._keys: dict[str, list[tuple[str | None, PyJWK]]] = defaultdict(list)
        for key in _entries(text):
            for algorithm in _algorithms(key, shared_secrets):
                made = _key(key, algorithm)
                if made is not None:
                    self._keys[algorithm].append((key.get("kid"), made))
        if not self._keys:
            raise ValueError("there is no key in it that can be used")

    def payload(self, token: str) -> bytes:
        """The payload of a token that one of the keys has signed. Raises ``InvalidToken``, ``UnknownKey``."""
        if not token.isascii():
            raise InvalidToken("the token is malformed")
        try:
            header = self._jws.get_unverified_header(token)
        except PyJWTError:
            raise InvalidToken("the token is malformed") from None
        if "crit" in header:  # extensions that must be understood; none is (RFC 7515 §4.1.11)
            raise InvalidToken("the token has critical extensions")
        for key in self._candidates(header.get("alg"), header.get("kid")):
            try:
                payload: bytes = self._jws.decode(token, key, [key.algorithm_name])
            except PyJWTError:
                continue
            return payload
        raise InvalidToken("the signature of the token is wrong")

    def _candidates(self, algorithm: Any, key_id: str | None) -> list[PyJWK]:
        """Keys for this algorithm with this id, or without one; the token's word for neither is enough to be accepted."""
        fitting = self._keys.get(algorithm, ()) if isinstance(algorithm, str) else ()
        found = [key for known_id, key in fitting if None in (key_id, known_id) or key_id == known_id]
        if not found:
            raise UnknownKey("the token is signed with an unknown key")
        return found


def _entries(text: str | bytes) -> list[dict[str, Any]]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ValueError("it is not JSON") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("it has no list of keys")
    if len(entries) > MAX_KEYS:
        raise ValueError(f"it has more than {MAX_KEYS} keys")
    return [entry for entry in entries if isinstance(entry, dict)]


def _key(key: dict[str, Any], algorithm: str) -> PyJWK | None:
    """A key to verify with; None for one that is broken or too short: it does not spoil the others."""
    public = {name: value for name, value in key.items() if name not in _PRIVATE}
    try:
        made = PyJWK(public, algorithm)
    except (PyJWTError, KeyError):
        return None
    return None if made.Algorithm.check_key_length(made.key) else made


def _algorithms(key: dict[str, Any], shared_secrets: bool) -> tuple[str, ...]:
    """What a key may verify; nothing when it is for encryption, or of a kind that is not known."""
    kind, curve, own, operations = (key.get(name) for name in ("kty", "crv", "alg", "key_ops"))
    if key.get("use", "sig") != "sig" or (isinstance(operations, list) and "verify" not in operations):
        return ()
    if kind == "oct" and not shared_secrets:
        return ()
    known = _ALGORITHMS.get((str(kind), curve if isinstance(curve, str) else None), ())
    return known if own is None else tuple(name for name in known if name == own)
