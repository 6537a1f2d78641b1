"""Which markers mean what, and which are refused."""

from __future__ import annotations

from typing import Any

import pytest

from pixiu_py.filters.llm.promptcache.markers import MarkerError
from tests.fakes.promptcache import ALL_TIERS, USUAL_TIERS


@pytest.mark.parametrize("ttl", ["5m", "1h", "24h"])
def test_a_ttl_is_a_tier(ttl: str) -> None:
    assert ALL_TIERS.of({"type": "ephemeral", "ttl": ttl}) == ttl


def test_without_a_ttl_the_default_counts() -> None:
    assert ALL_TIERS.of({"type": "ephemeral"}) == "5m"


def test_other_keys_of_a_marker_are_not_looked_at() -> None:
    assert ALL_TIERS.of({"type": "ephemeral", "scope": "global"}) == "5m"


def test_null_is_no_marker() -> None:
    assert ALL_TIERS.of(None) is None


@pytest.mark.parametrize(
    ("marker", "reason"),
    [
        ({"type": "ephemeral", "ttl": "2h"}, "invalid_ttl"),
        ({"type": "ephemeral", "ttl": ""}, "invalid_ttl"),
        ({"type": "persistent"}, "unsupported_type"),
        ({"type": "ephemeral", "ttl": "24h"}, "tier_disabled"),
        ({}, "malformed_cache_control"),
        ({"type": None}, "malformed_cache_control"),
        ({"type": 1}, "malformed_cache_control"),
        ({"type": "ephemeral", "ttl": 5}, "malformed_cache_control"),
        ({"type": "ephemeral", "ttl": None}, "malformed_cache_control"),
        ("ephemeral", "malformed_cache_control"),
        (True, "malformed_cache_control"),
        (5, "malformed_cache_control"),
        ([], "malformed_cache_control"),
    ],
)
def test_what_is_no_marker_is_refused(marker: Any, reason: str) -> None:
    with pytest.raises(MarkerError) as refused:
        USUAL_TIERS.of(marker)
    assert refused.value.reason == reason


def test_a_disabled_tier_is_told_with_those_there_are() -> None:
    with pytest.raises(MarkerError, match="'24h' is not available here; use 5m, 1h"):
        USUAL_TIERS.of({"type": "ephemeral", "ttl": "24h"})


def test_what_a_client_sent_is_not_sent_back_whole() -> None:
    with pytest.raises(MarkerError) as refused:
        USUAL_TIERS.of({"type": "x" * 10_000})
    assert len(str(refused.value)) < 200
