"""Rules of the rate limit filter."""

from __future__ import annotations

import asyncio

import msgspec
import orjson
import pytest
from fakes.exchange import make_context, make_exchange

from pixiu_py.filters.http.ratelimit import FlowRule, RateLimit, RateLimitConfig

RESOURCES = [{"name": "chat", "items": [{"matchStrategy": 2, "pattern": "/v1/**"}]}]


def config(*rules, resources=RESOURCES):
    return {
        "resources": resources,
        "rules": [{"enable": True, "flowRule": {"resource": "chat", **rule}} for rule in rules],
    }


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def limit(document, clock=None):
    return RateLimit(msgspec.convert(document, RateLimitConfig), make_context(clock or Clock()))


async def statuses(filter_, *targets):
    replies = [await filter_.decode(make_exchange(target=target)) for target in targets]
    return [reply.status if reply is not None else 0 for reply in replies]


async def test_above_the_threshold_the_answer_is_429_with_retry_after():
    filter_ = limit(config({"threshold": 2, "statIntervalInMs": 10_000}))
    assert await statuses(filter_, "/v1/a", "/v1/b", "/v1/c") == [0, 0, 429]
    reply = await filter_.decode(make_exchange(target="/v1/a"))
    assert 10 <= int(reply.headers.get("retry-after")) <= 11
    assert orjson.loads(reply.body) == {"status": 429, "message": "Rate limited", "error": "blocked by rate limit"}


async def test_after_retry_after_a_request_passes():
    clock = Clock()
    filter_ = limit(config({"threshold": 1}), clock)
    assert await statuses(filter_, "/v1/a", "/v1/a") == [0, 429]
    reply = await filter_.decode(make_exchange(target="/v1/a"))
    clock.now += int(reply.headers.get("retry-after"))
    assert await statuses(filter_, "/v1/a") == [0]


async def test_escapes_and_queries_are_no_way_around():
    filter_ = limit(config({"threshold": 1}))
    assert await statuses(filter_, "/v1/a", "/%76%31/a", "/v1/a?x") == [0, 429, 429]


async def test_other_paths_are_not_limited():
    filter_ = limit(config({"threshold": 0}))
    assert await statuses(filter_, "/v2/a", "/v1/a") == [0, 429]


async def test_disabled_rules_do_not_count():
    document = config({"threshold": 0})
    document["rules"][0]["enable"] = False
    assert await statuses(limit(document), "/v1/a") == [0]


async def test_every_rule_of_a_resource_must_admit():
    filter_ = limit(config({"threshold": 5}, {"threshold": 1, "statIntervalInMs": 60_000}))
    assert await statuses(filter_, "/v1/a", "/v1/a") == [0, 429]


async def test_two_filters_count_apart():
    document = config({"threshold": 1})
    assert await statuses(limit(document), "/v1/a") == [0]
    assert await statuses(limit(document), "/v1/a") == [0]


async def test_an_interval_of_zero_is_a_second():
    clock = Clock()
    filter_ = limit(config({"threshold": 1, "statIntervalInMs": 0}), clock)
    assert await statuses(filter_, "/v1/a", "/v1/a") == [0, 429]
    clock.now += 1.1
    assert await statuses(filter_, "/v1/a") == [0]


async def test_throttling_holds_a_request_until_its_turn(monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    filter_ = limit(config({"threshold": 10, "controlBehavior": 1, "maxQueueingTimeMs": 100}))
    assert await statuses(filter_, "/v1/a", "/v1/a", "/v1/a") == [0, 0, 429]
    assert slept == [pytest.approx(0.1)]


async def test_throttling_to_zero_refuses():
    assert await statuses(limit(config({"threshold": 0, "controlBehavior": 1})), "/v1/a") == [429]


def test_keys_of_flow_rules_are_read_in_any_case():
    # Pixiu's own samples write statintervalinms.
    assert FlowRule.case_insensitive


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"threshold": 1, "resource": "other"}, "'other', which is not there"),
        ({"threshold": -1}, ">= 0"),
        ({"threshold": 1, "tokenCalculateStrategy": 1}, "warming up"),
        ({"threshold": 1, "relationStrategy": 1}, "another resource"),
        ({"threshold": 1, "controlBehavior": 2}, "controlBehavior"),
        ({}, "threshold"),
    ],
)
def test_mistakes_are_found_at_start(rule, message):
    with pytest.raises(msgspec.ValidationError, match=message):
        limit(config(rule))
