"""``case``: scripted endpoints and the proxy before them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest_asyncio

from tests.fakes.upstream import Script
from tests.fakes.walk import Case

Make = Callable[..., Any]


@pytest_asyncio.fixture
async def case() -> AsyncIterator[Make]:
    """``await case(script, …)`` makes a case that is closed in the end."""
    made: list[Case] = []

    async def make(*scripts: Script | int, **options: Any) -> Case:
        made.append(Case())
        return await made[-1].set_up(*scripts, **options)

    yield make
    for one in made:
        await one.close()
