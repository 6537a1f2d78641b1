"""Texts from outside, as every database takes them."""

from __future__ import annotations

from hashlib import sha256


def storable(text: str, longest: int) -> str:
    """``text``, if it is UTF-8 without NUL and has at most ``longest`` characters; else what can be kept of it.

    The rest is replaced by a digest of the whole, so that texts that differ stay different.
    """
    if len(text) <= longest and text.isprintable():  # neither NUL nor half a surrogate pair is printable
        return text
    data = text.encode("utf-8", "surrogatepass")
    kept = data.decode("utf-8", "replace").replace("\x00", "\ufffd")
    if kept == text and len(text) <= longest:
        return text
    return f"{kept[: max(longest - 17, 0)]}#{sha256(data).hexdigest()[:16]}"
