"""Retry policies: how often one endpoint is tried for one request, and how long to wait in between.

Pure: a policy is frozen config with a function from the number of the retry to a delay; randomness is passed in.
Kinds, keys and defaults are Pixiu's; jitter lies inside ``maxInterval``, not on top of it.
"""

from __future__ import annotations

import random
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from pixiu_py.config.types import Duration, Empty, Model, doc
from pixiu_py.registry import Family, plugin

#: Statuses that a further try may mend (RFC 9110 §15, RFC 8470 for 425).
RETRYABLE = frozenset((408, 425, 429, 500, 502, 503, 504))


class RetryPolicy:
    """Base of retry policies. ``retry_on`` is the set of statuses after which another try is made."""

    Config: ClassVar[type[Model]] = Empty

    def __init__(self, config: Any) -> None:
        self.config = config
        #: Tries in all, the first included.
        self.tries = 1
        #: Longest pause that a Retry-After may ask for, in seconds; a longer one ends the tries at this endpoint.
        self.max_retry_after = 30.0
        self.retry_on = RETRYABLE

    def delay(self, retry: int, rng: random.Random) -> float:
        """Seconds to wait before the ``retry``-th retry, counted from 1."""
        return 0.0


class RetryConfig(Model, frozen=True):
    """Keys that every policy with retries has."""

    times: Annotated[int, Meta(ge=0, description="Retries after the first try.")] = 2
    max_retry_after: Annotated[Duration, doc("Longest Retry-After that is waited for; a longer one falls back.")] = 30.0
    retry_on: Annotated[list[int], doc("Statuses to retry; empty: 408 425 429 500 502 503 504.")] = []


class _Retrying(RetryPolicy):
    def __init__(self, config: RetryConfig) -> None:
        super().__init__(config)
        self.tries = config.times + 1
        self.max_retry_after = config.max_retry_after
        self.retry_on = frozenset(config.retry_on) or RETRYABLE


@plugin(Family.RETRY_POLICY, "NoRetry")
class NoRetry(RetryPolicy):
    """One try."""


@plugin(Family.RETRY_POLICY, "CountBased")
class CountBased(_Retrying):
    """``times`` retries, one after the other."""

    Config = RetryConfig


class BackoffConfig(RetryConfig, frozen=True):
    """Keys of ExponentialBackoff, spelt as in Pixiu."""

    initialInterval: Annotated[Duration, doc("Wait before the first retry.")] = 0.1  # noqa: N815 - Pixiu's key
    maxInterval: Annotated[Duration, doc("Longest wait, jitter included.")] = 5.0  # noqa: N815 - Pixiu's key
    multiplier: Annotated[float, Meta(ge=1, le=1000, description="Growth from one wait to the next.")] = 2.0


@plugin(Family.RETRY_POLICY, "ExponentialBackoff")
class ExponentialBackoff(_Retrying):
    """``times`` retries with growing pauses and full jitter over their upper half."""

    Config = BackoffConfig

    def delay(self, retry: int, rng: random.Random) -> float:
        """Between half of min(initial × multiplier^(retry-1), max) and the whole of it."""
        config: BackoffConfig = self.config
        # The exponent is bounded so that a large ``times`` cannot overflow a float.
        grown = config.initialInterval * config.multiplier ** min(retry - 1, 64)
        ceiling = min(grown, config.maxInterval)
        return ceiling * (0.5 + 0.5 * rng.random())
