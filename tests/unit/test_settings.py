"""The settings of one run."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from pixiu_py.config.model import LogConfig
from pixiu_py.config.types import Model
from pixiu_py.settings import LOG_FORMATS, LOG_LEVELS, Settings


def test_nothing_is_decided_but_the_file() -> None:
    """One worker, no plugins folder, and the file has the say about its log."""
    settings = Settings(Path("conf.yaml"))
    assert (settings.plugins_dir, settings.log_level, settings.log_format, settings.workers) == (None, "", "", 1)


def test_settings_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings(Path("conf.yaml")).workers = 2  # type: ignore[misc]


@pytest.mark.parametrize(("key", "known"), [("level", LOG_LEVELS), ("format", LOG_FORMATS)])
def test_command_line_and_file_know_the_same_words(key: str, known: tuple[str, ...]) -> None:
    assert issubclass(LogConfig, Model)
    for word in known:
        assert getattr(LogConfig(**{key: word}), key) == word
