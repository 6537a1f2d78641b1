"""API keys and their owners, as the books know them: by digest, never in clear."""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple


class KeyRow(NamedTuple):
    """A key and its owner."""

    #: SHA-256 of the key, 32 bytes.
    digest: bytes
    principal: str
    #: Unix seconds.
    added_at: float


def key_digest(key: str) -> bytes:
    """What stands for a key wherever it is kept."""
    return sha256(key.encode("utf-8", "surrogateescape")).digest()
