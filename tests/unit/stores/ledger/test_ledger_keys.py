"""A key is known by its digest only."""

from __future__ import annotations

from hashlib import sha256

from pixiu_py.stores.ledger.keys import key_digest


def test_the_digest_is_that_of_the_bytes_on_the_wire() -> None:
    """Also of a key that is no text."""
    assert key_digest("sk-alice") == sha256(b"sk-alice").digest()
    assert key_digest("\udcff") == sha256(b"\xff").digest()
