"""What contradicts itself is refused when the file is read."""

from __future__ import annotations

from typing import Any

import pytest

from pixiu_py.config.types import Secret
from pixiu_py.filters.llm.promptcache.config import PromptCacheConfig, TokenizerConfig
from pixiu_py.filters.llm.promptcache.principals import PrincipalConfig
from pixiu_py.stores.ledger.tariff import Tariff


def owner(key: str) -> PrincipalConfig:
    return PrincipalConfig(key=Secret(key), principal="p")


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"enabled_ttls": ["1h"]}, "default_ttl 5m is not one of enabled_ttls"),
        ({"default_ttl": "24h"}, "default_ttl 24h is not one of enabled_ttls"),
        ({"principals": [owner("a"), owner("a")]}, "a key stands there twice"),
        ({"principals": [owner("")]}, "a key is empty"),
        ({"tariffs": [Tariff(model="m"), Tariff(model="m")]}, "a model stands there twice"),
    ],
)
def test_contradictions(keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        PromptCacheConfig(**keys)


@pytest.mark.parametrize(("kind", "problem"), [("service", "needs a url"), ("file", "needs a path")])
def test_a_tokenizer_needs_to_be_found(kind: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        TokenizerConfig(type=kind)


def test_usual_tiers_are_five_minutes_and_an_hour() -> None:
    config = PromptCacheConfig()
    assert (config.enabled_ttls, config.default_ttl) == (["5m", "1h"], "5m")
