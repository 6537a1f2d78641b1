"""``cache_control`` markers: which tier each asks for, and what is wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pixiu_py.errors import PixiuError
from pixiu_py.stores.promptcache.base import TIERS, Tier

#: The key of a marker, in the bodies of all APIs.
MARKER = "cache_control"
#: Most breakpoints of a request.
MAX_BREAKPOINTS = 4


class MarkerError(PixiuError):
    """A marker that cannot be followed. ``reason`` is a word for metrics, the message is for the client."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Tiers:
    """The tiers that may be asked for, and the one of a marker that names none."""

    __slots__ = ("default", "enabled")

    def __init__(self, enabled: Collection[Tier], default: Tier) -> None:
        self.enabled = frozenset(enabled)
        self.default = default

    def of(self, marker: Any) -> Tier | None:
        """The tier of a marker; None for null, which is no marker. Raises ``MarkerError``."""
        if marker is None:
            return None
        kind = marker.get("type") if isinstance(marker, dict) else None
        if not isinstance(kind, str):
            raise MarkerError("malformed_cache_control", "cache_control must be an object with a type: ephemeral")
        if kind != "ephemeral":
            raise MarkerError("unsupported_type", f"cache_control.type {_shown(kind)} is not supported; use ephemeral")
        if "ttl" not in marker:
            return self.default
        return self._named(marker["ttl"])

    def _named(self, ttl: Any) -> Tier:
        if not isinstance(ttl, str):
            raise MarkerError("malformed_cache_control", "cache_control.ttl must be a string such as 5m")
        if ttl not in TIERS:
            raise MarkerError("invalid_ttl", f"cache_control.ttl {_shown(ttl)} is unknown; there are {self._names()}")
        if ttl not in self.enabled:
            raise MarkerError("tier_disabled", f"cache_control.ttl {ttl!r} is not available here; use {self._names()}")
        return ttl

    def _names(self) -> str:
        return ", ".join(tier for tier in TIERS if tier in self.enabled)


def _shown(text: str) -> str:
    """What a client sent, short enough to send back."""
    return repr(text if len(text) <= 40 else text[:40] + "…")
