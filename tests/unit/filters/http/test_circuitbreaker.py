"""Rules of the circuit breaker filter: what counts as bad, what tells nothing, and what the client hears."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from pixiu_py.errors import BodyTimeout, StreamTruncated
from pixiu_py.filters.http.breaker import State
from pixiu_py.filters.http.circuitbreaker import BreakerRule, CircuitBreaker, CircuitBreakerConfig
from pixiu_py.filters.http.resources import Resource, ResourceItem
from pixiu_py.http.exchange import Exchange
from tests.fakes.exchange import make_context, make_exchange

RESOURCES = [Resource(name="chat", items=[ResourceItem(pattern="/chat")])]


class Chain:
    """The filter with a clock of its own."""

    def __init__(self, *rules: dict[str, Any]) -> None:
        defaults = {"resource": "chat", "strategy": "error_count", "threshold": 1, "retryTimeoutMs": 5000}
        made = [BreakerRule(**{**defaults, **rule}) for rule in rules or ({},)]
        self.now = 0.0
        self.context = make_context(lambda: self.now)
        self.filter = CircuitBreaker(CircuitBreakerConfig(resources=RESOURCES, rules=made), self.context)

    def ask(self, status: int = 200, *, target: str = "/chat", end: str = "complete", seconds: float = 0.0) -> int:
        """One exchange from its begin to its end; the status that the client gets."""
        exchange = make_exchange("GET", target)
        response = self.filter.decode(exchange)
        self.now += seconds
        exchange.status = response.status if response is not None else status
        exchange.end_reason = end
        self.filter.done(exchange)
        return exchange.status


def test_an_open_breaker_answers_with_the_time_to_wait() -> None:
    """503 with Retry-After; other paths pass; a probe after that time."""
    chain = Chain()
    assert chain.ask(500) == 500
    chain.now = 1.5
    response = chain.filter.decode(make_exchange("GET", "/chat"))
    assert response is not None
    assert (response.status, response.headers.get("retry-after")) == (503, "4")
    assert orjson.loads(response.body)["error"] == "the circuit breaker is open"  # type: ignore[arg-type]
    assert chain.ask(target="/other") == 200
    chain.now = 5.0
    assert [chain.ask(), chain.ask()] == [200, 200]


@pytest.mark.parametrize(("status", "then"), [(500, 503), (503, 503), (499, 200), (404, 200), (200, 200)])
def test_an_error_is_a_status_of_500_and_above(status: int, then: int) -> None:
    chain = Chain()
    chain.ask(status)
    assert chain.ask() == then


def test_an_answer_that_broke_off_is_an_error_and_a_slow_client_is_none() -> None:
    """Whatever the status said before."""
    for error, then in ((StreamTruncated(), State.OPEN), (BodyTimeout(), State.CLOSED)):
        chain = Chain()
        exchange = make_exchange("GET", "/chat")
        chain.filter.decode(exchange)
        exchange.status, exchange.error, exchange.end_reason = 200, error, error.kind
        chain.filter.done(exchange)
        assert chain.filter._guards["chat"][0].breaker.state is then


@pytest.mark.parametrize("end", ["client_gone", "shutdown"])
def test_a_client_that_left_tells_nothing(end: str) -> None:
    """Neither closed nor as a probe, which may be repeated at once."""
    chain = Chain()
    chain.ask(500, end=end)
    assert chain.ask(500) == 500
    chain.now = 5.0
    chain.ask(200, end=end)
    assert chain.ask(500) == 500, "the next probe"
    assert chain.ask() == 503


def test_slow_requests_open_it_whatever_their_status() -> None:
    """Exactly the allowed time is not slow; errors do not count here."""
    rule = {"strategy": "slow_request_ratio", "threshold": 1, "maxAllowedRtMs": 1000}
    chain = Chain(rule)
    chain.ask(500, seconds=1.0)
    assert chain.ask(seconds=1.001) == 200
    chain = Chain(rule)
    chain.ask(seconds=1.001)
    assert chain.ask() == 503


def test_the_time_begins_when_it_is_admitted() -> None:
    """What filters before it took is not the resource's fault."""
    chain = Chain({"strategy": "slow_request_ratio", "threshold": 1, "maxAllowedRtMs": 1000})
    chain.now = 100.0
    chain.ask(seconds=0.5)
    assert chain.ask() == 200


def test_every_rule_of_a_resource_must_let_it_through() -> None:
    """One that does not costs the others no probe."""
    chain = Chain({}, {"threshold": 1, "retryTimeoutMs": 10000})
    chain.ask(500)
    chain.now = 6.0
    assert chain.ask() == 503
    assert [guard.breaker.state for guard in chain.filter._guards["chat"]] == [State.OPEN, State.OPEN]
    chain.now = 10.0
    assert chain.ask() == 200
    assert [guard.breaker.state for guard in chain.filter._guards["chat"]] == [State.CLOSED, State.CLOSED]


def test_two_filters_of_a_chain_do_not_mix_up_their_tickets() -> None:
    first, second = Chain(), Chain()
    exchange: Exchange = make_exchange("GET", "/chat")
    first.filter.decode(exchange)
    second.filter.decode(exchange)
    exchange.status = 500
    for chain in (second, first):
        chain.filter.done(exchange)
        assert chain.ask() == 503


@pytest.mark.parametrize(("number", "name"), list(enumerate(["slow_request_ratio", "error_ratio", "error_count"])))
def test_numbers_are_sentinels_own(number: Any, name: str) -> None:
    rule = BreakerRule(resource="chat", strategy=number, threshold=1, retryTimeoutMs=1, maxAllowedRtMs=1)
    assert rule.named_strategy == name


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"strategy": "error_ratio", "threshold": 1.5}, "is a share"),
        ({"strategy": "slow_request_ratio"}, "needs maxAllowedRtMs"),
        ({"resource": "cat"}, "'cat', which is not there"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Chain(rule)


async def test_what_it_does_is_counted_and_logged() -> None:
    """Refusals, and breakers that are not closed, with the time they have left; nothing after close."""
    chain = Chain()
    with capture_logs() as logs:
        chain.ask(500)
        chain.now = 2.0
        chain.ask()
        text = chain.context.metrics.render().decode()
        chain.now = 5.0
        chain.ask()
    assert 'rejected_total{resource="chat"} 1\n' in text
    assert 'wait_seconds{resource="chat",strategy="error_count",state="open"} 3\n' in text
    assert [entry["event"] for entry in logs] == ["circuit breaker is open", "circuit breaker is closed again"]
    assert 'state="' not in chain.context.metrics.render().decode()
    chain.ask(500)
    await chain.filter.close()
    assert 'state="' not in chain.context.metrics.render().decode()
