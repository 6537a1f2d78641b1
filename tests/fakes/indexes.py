"""Prefix indexes for tests: each kind, on a file or a real server of its own."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from pixiu_py.plugins import build_registry
from pixiu_py.registry import Family
from pixiu_py.stores.promptcache.base import PrefixIndex
from tests.fakes.conf import Block

REGISTRY = build_registry()
KINDS = ("memory", "sqlite")


class Backends:
    """Makes empty indexes; a server is started when its kind is first asked for, and ends with ``stack``."""

    def __init__(self, folders: pytest.TempPathFactory, stack: ExitStack) -> None:
        self._folders = folders
        self._stack = stack

    async def index(self, kind: str) -> PrefixIndex:
        """A started index without entries."""
        if kind == "sqlite":
            return await self._made(kind, {"path": str(self._folders.mktemp("index") / "index.db")})
        return await self._made(kind, {})

    async def _made(self, kind: str, block: Block) -> PrefixIndex:
        entry = REGISTRY.find(Family.PREFIX_INDEX, kind)
        assert entry is not None
        index: PrefixIndex = entry.cls(entry.cls.Config(**block))
        await index.start()
        return index
