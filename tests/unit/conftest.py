"""Fixtures of the unit tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from pixiu_py.upstream.client import Client


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Client]:
    """What the gateway makes calls of its own with."""
    client = Client()
    yield client
    await client.close()
