"""Which header fields a configuration may write."""

from __future__ import annotations

from collections.abc import Iterable

from pixiu_py.http.headers import HOP_BY_HOP, Headers, encode

#: Framing belongs to the connection: changing it here would let a message end where it does not. Host has its own filter.
_FORBIDDEN = HOP_BY_HOP | {b"content-length", b"host"}


def check_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Raise ``ValueError`` for a field that cannot be sent or is not a filter's to send."""
    trial = Headers()
    for name, value in fields:
        if not name or not name.isascii() or any(char in " \t:" for char in name):
            raise ValueError(f"{name!r} is not a header name")
        if encode(name).lower() in _FORBIDDEN:
            raise ValueError(f"{name} cannot be changed here")
        trial.add(name, value)
