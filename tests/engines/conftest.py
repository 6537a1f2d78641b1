"""Tests against real engines: ``make test-engines``. Without ``PIXIU_ENGINES`` there are none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.engines.servers import Engine

collect_ignore_glob = [] if os.environ.get("PIXIU_ENGINES") else ["test_*.py"]


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where servers write what they print."""
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="session")
def llama(logs: Path) -> Iterator[Engine]:
    """A llama-server that serves the model ``tiny``."""
    from tests.engines.servers import llama_server

    engine = llama_server(logs).start()
    yield engine
    engine.stop()
