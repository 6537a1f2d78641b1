"""Decompression for filters that read along: bounded, whatever the bytes claim to be."""

from __future__ import annotations

import zlib

_GZIP = 16 + zlib.MAX_WBITS
_ZLIB = zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS


class UnreadableError(Exception):
    """The content cannot be read. ``reason``: ``encoding`` (unknown), ``too_large`` or ``malformed``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Inflater:
    """Decodes one body with a Content-Encoding, piece by piece, up to ``limit`` bytes in all.

    ``deflate`` is the zlib format (RFC 9110 §8.4.1.2), and the bare one that some senders mean by it.
    """

    __slots__ = ("_held", "_inner", "_left", "_wbits")

    def __init__(self, encoding: str, limit: int) -> None:
        """Raises ``UnreadableError`` for any other encoding than gzip, deflate and identity."""
        encoding = encoding.strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise UnreadableError("encoding")
        #: 0: as it is; None: not known before the first two bytes have been seen.
        self._wbits = {"": 0, "identity": 0, "deflate": None}.get(encoding, _GZIP)
        self._inner = zlib.decompressobj(self._wbits) if self._wbits else None
        self._held = b""
        self._left = limit

    def feed(self, data: bytes) -> bytes:
        """The decoded bytes of the next piece. Raises ``UnreadableError``."""
        if self._wbits == 0:
            return data
        if self._inner is None:
            data = self._held + data
            if len(data) < 2:
                self._held = data
                return b""
            is_zlib = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0  # RFC 1950 §2.2
            self._wbits = _ZLIB if is_zlib else _RAW
        try:
            return self._inflate(data, self._wbits or _RAW)
        except zlib.error:
            raise UnreadableError("malformed") from None

    def _inflate(self, data: bytes, wbits: int) -> bytes:
        parts = []
        while data:
            inner = self._inner
            if inner is None or inner.eof:  # a gzip body may have several members (RFC 1952 §2.2)
                inner = self._inner = zlib.decompressobj(wbits)
            part = inner.decompress(data, self._left + 1)
            self._left -= len(part)
            if self._left < 0:
                raise UnreadableError("too_large")
            parts.append(part)
            data = inner.unused_data
        return b"".join(parts)
