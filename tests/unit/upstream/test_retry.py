"""Retry policies: how many tries, which statuses, and how long the pauses are."""

from __future__ import annotations

import random

import msgspec
import pytest

from pixiu_py.registry import Family, Registry
from pixiu_py.upstream import retry
from pixiu_py.upstream.retry import (
    RETRYABLE,
    BackoffConfig,
    CountBased,
    ExponentialBackoff,
    NoRetry,
    RetryConfig,
    RetryPolicy,
)

RNG = random.Random(0)


class Draw(random.Random):
    """Always draws the same number."""

    def __init__(self, number: float) -> None:
        super().__init__(0)
        self._number = number

    def random(self) -> float:
        return self._number


def test_the_three_kinds_of_pixiu_are_registered() -> None:
    registry = Registry()
    assert registry.add_module(retry) == 3
    assert registry.kinds(Family.RETRY_POLICY) == ["CountBased", "ExponentialBackoff", "NoRetry"]


def test_no_retry_tries_once() -> None:
    policy = NoRetry(NoRetry.Config())
    assert (policy.tries, policy.delay(1, RNG)) == (1, 0.0)


@pytest.mark.parametrize(("times", "tries"), [(0, 1), (2, 3), (10, 11)])
def test_times_are_retries_after_the_first_try(times: int, tries: int) -> None:
    assert CountBased(RetryConfig(times=times)).tries == tries
    assert ExponentialBackoff(BackoffConfig(times=times)).tries == tries


def test_defaults_are_pixius() -> None:
    config = BackoffConfig()
    assert (config.times, config.initialInterval, config.maxInterval, config.multiplier) == (2, 0.1, 5.0, 2.0)


def test_count_based_does_not_wait() -> None:
    policy = CountBased(RetryConfig())
    assert [policy.delay(n, RNG) for n in (1, 2, 3)] == [0.0, 0.0, 0.0]


def test_backoff_grows_by_the_multiplier_up_to_the_longest_wait() -> None:
    policy = ExponentialBackoff(BackoffConfig(initialInterval=1.0, maxInterval=5.0, multiplier=2.0))
    longest = Draw(1.0)
    assert [policy.delay(n, longest) for n in (1, 2, 3, 4, 5)] == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_jitter_lies_inside_the_cap_and_over_the_upper_half() -> None:
    """Pixiu adds its jitter on top of ``maxInterval``; here the cap is a cap."""
    policy = ExponentialBackoff(BackoffConfig(initialInterval=4.0, maxInterval=4.0))
    delays = [policy.delay(1, RNG) for _ in range(200)]
    assert 2.0 <= min(delays) < 2.2
    assert 3.8 < max(delays) <= 4.0
    assert policy.delay(1, Draw(0.0)) == 2.0


def test_many_retries_do_not_overflow() -> None:
    policy = ExponentialBackoff(BackoffConfig(times=10**6, multiplier=1000.0))
    assert policy.delay(10**6, Draw(1.0)) == 5.0


def test_retryable_statuses_leave_the_clients_own_errors_out() -> None:
    policy = CountBased(RetryConfig())
    assert policy.retry_on == RETRYABLE == {408, 425, 429, 500, 502, 503, 504}


def test_a_list_of_statuses_replaces_the_default_one() -> None:
    assert CountBased(RetryConfig(retry_on=[529])).retry_on == {529}


def test_longest_retry_after_comes_from_the_config() -> None:
    assert CountBased(RetryConfig(max_retry_after=7.0)).max_retry_after == 7.0
    assert RetryPolicy(None).max_retry_after == 30.0


@pytest.mark.parametrize("bad", [{"times": -1}, {"multiplier": 0.5}, {"multiplier": 1001}, {"interval": 1}])
def test_values_that_make_no_sense_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(bad, BackoffConfig)
