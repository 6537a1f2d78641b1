"""Decompression for filters that read along or change a body: bounded, whatever the bytes claim to be.

gzip and deflate always; br and zstd where the packages brotli and zstandard are installed.
"""

from __future__ import annotations

import zlib
from typing import Any, Protocol

_GZIP = 16 + zlib.MAX_WBITS
_ZLIB = zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS
#: Bytes that are fed at a time to a decoder that cannot be told when to stop.
_SLICE = 1024


class UnreadableError(Exception):
    """The content cannot be read. ``reason``: ``encoding`` (unknown), ``too_large`` or ``malformed``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Decoder(Protocol):
    """What decodes one encoding."""

    @property
    def finished(self) -> bool:
        """True when the content has come to its own end."""

    def decode(self, data: bytes, limit: int) -> bytes:
        """The next bytes, more than ``limit`` of them if there are more. Raises ``UnreadableError``."""


class _Identity:
    finished = True

    def decode(self, data: bytes, limit: int) -> bytes:
        return data


class _Zlib:
    """gzip, or ``deflate``: the zlib format (RFC 9110 §8.4.1.2), and the bare one that some senders mean by it."""

    def __init__(self, wbits: int | None) -> None:
        #: None: not known before the first two bytes have been seen.
        self._wbits = wbits
        self._inner = zlib.decompressobj(wbits) if wbits is not None else None
        self._held = b""
        self._began = False

    @property
    def finished(self) -> bool:
        return not self._began or (self._inner is not None and self._inner.eof)

    def decode(self, data: bytes, limit: int) -> bytes:
        self._began = True
        if self._wbits is None:
            data = self._held + data
            if len(data) < 2:
                self._held = data
                return b""
            is_zlib = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0  # RFC 1950 §2.2
            self._wbits = _ZLIB if is_zlib else _RAW
        try:
            return self._inflate(data, self._wbits, limit)
        except zlib.error:
            raise UnreadableError("malformed") from None

    def _inflate(self, data: bytes, wbits: int, limit: int) -> bytes:
        parts = []
        while data:
            inner = self._inner
            if inner is None or inner.eof:  # a gzip body may have several members (RFC 1952 §2.2)
                inner = self._inner = zlib.decompressobj(wbits)
            part = inner.decompress(data, limit + 1)
            limit -= len(part)
            parts.append(part)
            if limit < 0:
                break
            data = inner.unused_data
        return b"".join(parts)


class _Library:
    """A decoder of another package, fed in slices, so that it is found out early when there is too much."""

    def __init__(self, encoding: str) -> None:
        self._began = False
        if encoding == "br":
            import brotli

            inner: Any = brotli.Decompressor()
            self._process, self._error = inner.process, brotli.error
            self._ended = inner.is_finished
        else:
            import zstandard

            inner = zstandard.ZstdDecompressor().decompressobj()
            self._process, self._error = inner.decompress, zstandard.ZstdError
            self._ended = lambda: inner.eof

    @property
    def finished(self) -> bool:
        return not self._began or bool(self._ended())

    def decode(self, data: bytes, limit: int) -> bytes:
        self._began = True
        parts = []
        for at in range(0, len(data), _SLICE):
            try:
                part: bytes = self._process(data[at : at + _SLICE])
            except self._error:
                raise UnreadableError("malformed") from None
            parts.append(part)
            limit -= len(part)
            if limit < 0:
                break
        return b"".join(parts)


def _decoder(encoding: str) -> _Decoder:
    if encoding in ("", "identity"):
        return _Identity()
    if encoding in ("gzip", "x-gzip"):
        return _Zlib(_GZIP)
    if encoding == "deflate":
        return _Zlib(None)
    if encoding in ("br", "zstd"):
        try:
            return _Library(encoding)
        except ImportError:
            pass
    raise UnreadableError("encoding")


class Inflater:
    """Decodes one body with a Content-Encoding, piece by piece, up to ``limit`` bytes in all."""

    __slots__ = ("_decoder", "_left")

    def __init__(self, encoding: str, limit: int) -> None:
        """Raises ``UnreadableError`` for an encoding that is not known here."""
        self._decoder = _decoder(encoding.strip().lower())
        self._left = limit

    @property
    def finished(self) -> bool:
        """True when the content has come to its own end, or has not begun."""
        return self._decoder.finished

    def feed(self, data: bytes) -> bytes:
        """The decoded bytes of the next piece. Raises ``UnreadableError``."""
        decoded = self._decoder.decode(data, self._left)
        if type(self._decoder) is not _Identity:
            self._left -= len(decoded)
        if self._left < 0:
            raise UnreadableError("too_large")
        return decoded
