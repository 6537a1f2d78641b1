"""Rules of canaries: header first, then weight, and nothing that others share is changed."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from fakes.exchange import make_context, make_exchange

from pixiu_py.errors import StartError
from pixiu_py.filters.http.traffic import TrafficConfig, TrafficSplit


def canary(name, router="/user", header="", weight=0):
    return {"name": name, "router": router, "canary-by-header": header, "canary-weight": weight}


def traffic(*traffics, clusters=None):
    clusters = clusters or {canary["name"]: canary["name"] for canary in traffics}
    return TrafficSplit(msgspec.convert({"traffics": list(traffics)}, TrafficConfig), make_context(clusters=clusters))


def choice(filter_, target="/user", header=None):
    exchange = make_exchange(target=target, headers={"canary-by-header": header} if header is not None else {})
    assert filter_.decode(exchange) is None
    return exchange.cluster


def test_a_header_chooses():
    filter_ = traffic(canary("v2", header="v2"), canary("v3", header="v3"))
    assert choice(filter_, header="v3") == "v3"
    assert choice(filter_, header="v4") is None
    assert choice(filter_) is None


def test_a_header_comes_before_weight():
    filter_ = traffic(canary("all", weight=100), canary("v2", header="v2"))
    assert choice(filter_, header="v2") == "v2"
    assert choice(filter_) == "all"


def test_a_canary_by_weight_alone_is_not_chosen_by_an_absent_or_empty_header():
    filter_ = traffic(canary("v2", weight=0))
    assert choice(filter_) is None
    assert choice(filter_, header="") is None


def test_weights_share_the_requests():
    filter_ = traffic(canary("v2", weight=20), canary("v3", weight=30))
    counts = Counter(choice(filter_) for _ in range(2000))
    assert 320 < counts["v2"] < 480
    assert 500 < counts["v3"] < 700
    assert 900 < counts[None] < 1100


@pytest.mark.parametrize(
    ("target", "expected"),
    [("/user/7?x=/admin", "user"), ("/user/admin", "admin"), ("/us%65r/7", "user"), ("/other", None)],
)
def test_the_longest_prefix_counts(target, expected):
    filter_ = traffic(canary("user", weight=100), canary("admin", "/user/admin", weight=100))
    assert choice(filter_, target) == expected


def test_requests_do_not_see_each_others_choice():
    filter_ = traffic(canary("v2", header="v2"))
    assert choice(filter_, header="v2") == "v2"
    assert choice(filter_) is None


@pytest.mark.parametrize(
    ("traffics", "message"),
    [
        ([canary("a", weight=60), canary("b", weight=41)], "add up to 101"),
        ([canary("a", header="x"), canary("b", header="x")], "2 times"),
        ([canary("a", weight=101)], "<= 100"),
        ([canary("a", weight=-1)], ">= 0"),
    ],
)
def test_mistakes_are_found_at_start(traffics, message):
    with pytest.raises(msgspec.ValidationError, match=message):
        traffic(*traffics)


def test_each_router_has_its_own_hundred_percent_and_its_own_headers():
    traffic(canary("a", "/a", "x", 100), canary("b", "/b", "x", 100))


async def test_a_canary_without_cluster_stops_the_start():
    with pytest.raises(StartError, match="there is no cluster 'b'"):
        await traffic(canary("a"), canary("b"), clusters={"a": object()}).start()
    await traffic(canary("a"), clusters={"a": object()}).start()
