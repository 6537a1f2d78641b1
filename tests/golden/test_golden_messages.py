"""Each bad file gets exactly the messages in the text beside it: they are what users read."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixiu_py.config.load import load_config
from pixiu_py.errors import ConfigError
from tests.fakes.config_kinds import small_registry

HERE = Path(__file__).parent
ENVIRON = {"SECRET_WORD": "hunter2-hunter2", "SHORT": "abc", "ZERO": "0"}


@pytest.mark.parametrize("name", sorted(path.name for path in HERE.glob("bad*.yaml")))
def test_messages_of_a_bad_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)
    path = Path(name)
    with pytest.raises(ConfigError) as caught:
        load_config(path, small_registry(), ENVIRON)
    assert str(caught.value).splitlines() == path.with_suffix(".txt").read_text(encoding="utf-8").splitlines()


def test_no_message_shows_a_value_from_outside() -> None:
    shown = "".join(path.read_text(encoding="utf-8").lower() for path in HERE.glob("bad*.txt"))
    assert "hunter2" not in shown
    assert "sk-from-a-file" not in shown
    assert "abc)" not in shown
