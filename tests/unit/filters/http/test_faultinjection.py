"""Rules of injected faults."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from fakes.exchange import make_context, make_exchange

from pixiu_py.filters.http.faultinjection import FaultInjection, FaultInjectionConfig, FaultRule


def faults(seed=0, uri="/a", **rule):
    config = FaultInjectionConfig(fail_inject_rules={uri: FaultRule(**{"trigger_type": "always", **rule})})
    return FaultInjection(config, make_context(seed=seed))


@pytest.mark.parametrize(
    ("body", "kind"), [("sorry", "text/plain; charset=utf-8"), ('{"a": 1}', "application/json"), ("", None)]
)
async def test_abort_answers_here(body, kind):
    reply = await faults(type="abort", status_code=418, body=body).decode(make_exchange(target="/a"))
    assert (reply.status, reply.body) == (418, body.encode())
    assert reply.headers.get("content-type") == kind


@pytest.mark.parametrize(
    ("uri", "target", "hit"),
    [
        ("/a", "/a", True),
        ("/a", "/a?x=1", True),
        ("/a?x=1", "/a?x=1", True),
        ("/a?x=1", "/a?x=2", False),
        ("/a?x=1", "/a", False),
        ("/a", "/a/b", False),
    ],
)
async def test_which_requests_a_rule_is_for(uri, target, hit):
    reply = await faults(type="abort", uri=uri).decode(make_exchange(target=target))
    assert (reply is not None) is hit


async def hits(rounds=400, **rule):
    filter_ = faults(type="abort", **rule)
    replies = [await filter_.decode(make_exchange(target="/a")) for _ in range(rounds)]
    return sum(reply is not None for reply in replies)


async def test_percentages():
    assert await hits(trigger_type="percentage", odds=0) == 0
    assert await hits(trigger_type="percentage", odds=100) == 400
    assert 80 < await hits(trigger_type="percentage", odds=30) < 160
    assert 150 < await hits(trigger_type="random") < 250
    assert await hits(trigger_type="always") == 400


async def test_a_delayed_request_goes_on(monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert await faults(type="delay", delay=5.0).decode(make_exchange(target="/a")) is None
    assert slept == [5.0]


async def test_a_delay_ends_when_the_client_leaves():
    task = asyncio.get_running_loop().create_task(faults(type="delay", delay=3600.0).decode(make_exchange(target="/a")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    "rule",
    [
        {"type": "abort"},
        {"trigger_type": "always"},
        {"type": "abort", "trigger_type": "sometimes"},
        {"type": "abort", "trigger_type": "percentage", "odds": 101},
        {"type": "abort", "trigger_type": "always", "status_code": 0},
    ],
)
def test_mistakes_are_found_at_start(rule):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"fail_inject_rules": {"/a": rule}}, FaultInjectionConfig)
