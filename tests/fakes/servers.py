"""Real servers that several tests of a module share, started when they are first asked for."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import asyncpg
import pytest

from tests.fakes.services import Service, postgres_server, redis_server


class Servers:
    """The servers and folders of one test module; all end with ``stack``."""

    def __init__(self, folders: pytest.TempPathFactory, stack: ExitStack) -> None:
        self._folders = folders
        self._stack = stack
        self._redis: Service | None = None
        self._postgres: Service | None = None

    def folder(self) -> Path:
        """A new folder."""
        return self._folders.mktemp("store")

    @property
    def redis(self) -> Service:
        """The one Redis."""
        if self._redis is None:
            self._redis = self._stack.enter_context(redis_server())
        return self._redis

    @property
    def postgres(self) -> Service:
        """The one PostgreSQL."""
        if self._postgres is None:
            self._postgres = self._stack.enter_context(postgres_server())
        return self._postgres

    async def empty_postgres(self) -> None:
        """Drop everything that is in it."""
        connection = await asyncpg.connect(self.postgres.url)
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        await connection.close()
