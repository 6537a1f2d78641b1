"""Fixtures for everybody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest_asyncio
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.fakes.gateway import RunningGateway

# How long an example takes says something about the machine, and nothing about the code.
settings.register_profile("no clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no clock")


class StartGateway(Protocol):
    """What the ``gateway`` fixture gives."""

    async def __call__(self, text: str, *plugins: type[Any]) -> RunningGateway:
        """Start a gateway that knows ``plugins`` besides the built-in ones."""


@pytest_asyncio.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[StartGateway]:
    """``await gateway(yaml)`` starts a gateway. All are stopped at the end, and must leave no task and no socket."""
    from tests.fakes.gateway import Leaks, RunningGateway

    started: list[RunningGateway] = []
    leaks = Leaks()

    async def start(text: str, *plugins: type[Any]) -> RunningGateway:
        running = await RunningGateway.start(text, tmp_path, plugins)
        started.append(running)
        return running

    yield start
    for running in reversed(started):
        await running.stop()
    await leaks.check()
