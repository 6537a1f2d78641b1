"""The contract of a store: bytes under keys, for as long as they may live. One contract, a file for each backend.

Views for a purpose (cooldowns, sessions, …) are built on top of it, so that backends and purposes add up instead of
multiplying. A store that cannot be reached raises ``StoreError``; whoever uses it goes on without.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, ClassVar

from pixiu_py.config.types import Empty, Model
from pixiu_py.errors import PixiuError


class StoreError(PixiuError):
    """The store did not do what it was asked: not reachable, too slow, or full."""


class Store:
    """Base of stores. Times to live are seconds; 0 means for ever."""

    #: The model of the ``config`` block.
    Config: ClassVar[type[Model]] = Empty

    def __init__(self, config: Any) -> None:
        self.config = config

    async def start(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Disconnect."""

    async def get(self, key: str) -> bytes | None:
        """The value, or None when there is none or its time is over."""
        raise NotImplementedError

    async def set(self, key: str, value: bytes, ttl: float = 0.0) -> None:
        """Store a value, whatever was there."""
        raise NotImplementedError

    async def add(self, key: str, value: bytes, ttl: float = 0.0) -> bool:
        """Store a value where there is none; True when this call did it."""
        raise NotImplementedError

    async def swap(self, key: str, old: bytes, new: bytes, ttl: float = 0.0) -> bool:
        """Replace ``old`` by ``new`` in one step; False when another value is there by now."""
        raise NotImplementedError

    async def increment(self, key: str, by: int = 1, ttl: float = 0.0) -> int:
        """Add to a number, which begins at 0; ``ttl`` counts from its beginning. The new number.

        Raises ``StoreError`` also when the value is no number.
        """
        raise NotImplementedError

    async def delete(self, key: str) -> None:
        """Forget a value; it need not be there."""
        raise NotImplementedError

    def scan(self, prefix: str) -> AsyncIterator[tuple[str, bytes]]:
        """Every key that begins with ``prefix``, and its value. What is changed meanwhile is seen or not, or twice."""
        raise NotImplementedError
