"""A working directory of their own for the tests of a module, because some kinds put files where they are started."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The tests of a module run in a new folder."""
    with contextlib.chdir(tmp_path_factory.mktemp("cwd")):
        yield
