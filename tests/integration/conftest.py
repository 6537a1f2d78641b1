"""Integration tests run on uvloop, as the gateway does in production."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping

import pytest
import uvloop

from tests.fakes.conf import Block
from tests.fakes.services import Service, redis_server
from tests.fakes.sessions import shared


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop of every test in this folder."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def redis() -> Iterator[Service]:
    """A real Redis with nothing in it."""
    with redis_server() as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
def cache(request: pytest.FixtureRequest) -> Block:
    """The block of a store of sessions, each kind in turn; tenants are told apart by ``x-tenant``."""
    if request.param == "memory":
        return {"tenant_header": "x-tenant"}
    return shared(request.getfixturevalue("redis"), tenant_header="x-tenant")
