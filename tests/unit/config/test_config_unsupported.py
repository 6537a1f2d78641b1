"""What Pixiu knows and this gateway does not speak."""

from __future__ import annotations

import pytest

from pixiu_py.config.unsupported import UNSUPPORTED
from pixiu_py.plugins import build_registry
from pixiu_py.registry import Family


@pytest.mark.parametrize(("family", "kind"), UNSUPPORTED)
def test_what_is_registered_is_not_called_unsupported(family: Family, kind: str) -> None:
    assert build_registry().find(family, kind) is None, f"take {kind} out of config/unsupported.py"


@pytest.mark.parametrize("sentence", sorted(set(UNSUPPORTED.values())))
def test_each_reason_says_what_to_do_or_that_there_is_nothing(sentence: str) -> None:
    assert len(sentence.split()) >= 6
    assert not sentence.endswith(".")
