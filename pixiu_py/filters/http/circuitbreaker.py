"""Stops asking for what keeps failing, by Sentinel's circuit-breaker rules; results count when an exchange is over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Annotated, ClassVar, Final, Literal, NamedTuple

import structlog
from msgspec import Meta

from pixiu_py.config.types import Model, doc
from pixiu_py.errors import GatewayError, Side
from pixiu_py.filters.base import Context, HttpFilter
from pixiu_py.filters.http.breaker import Breaker, Limits, State
from pixiu_py.filters.http.resources import Resource, ResourceMatcher
from pixiu_py.http.exchange import Exchange, Response
from pixiu_py.http.headers import Headers
from pixiu_py.http.local_reply import local_reply, retry_after
from pixiu_py.observability.metrics import Labels
from pixiu_py.registry import Family, plugin

log = structlog.get_logger("pixiu_py.filters.circuitbreaker")

KIND: Final = "dgp.filter.http.circuitbreaker"
SLOW_RATIO, ERROR_RATIO, ERROR_COUNT = STRATEGIES = ("slow_request_ratio", "error_ratio", "error_count")
#: Ends of an exchange that say nothing about the resource.
_NO_RESULT: Final = frozenset(("client_gone", "shutdown"))

Positive = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[int, Meta(ge=0)]


class BreakerRule(Model, frozen=True):
    """One of Sentinel's circuit-breaker rules. Pixiu reads its keys in any case."""

    case_insensitive: ClassVar[bool] = True

    resource: Annotated[str, doc("Name of the resource.")]
    strategy: Annotated[
        Literal["slow_request_ratio", "error_ratio", "error_count", 0, 1, 2],
        doc("What is measured; 0, 1 and 2 are the names in this order."),
    ]
    threshold: Annotated[float, Meta(gt=0, description="Opens at this share (above 0, at most 1) or number.")]
    retryTimeoutMs: Annotated[  # noqa: N815 - Sentinel's key
        Positive, doc("Time from opening to the first probe, in milliseconds.")
    ]
    minRequestAmount: Annotated[  # noqa: N815 - Sentinel's key
        NotNegative, doc("Requests within the interval below which nothing opens it.")
    ] = 0
    statIntervalMs: Annotated[  # noqa: N815 - Sentinel's key
        Positive, doc("How long a result counts, in milliseconds.")
    ] = 1000
    maxAllowedRtMs: Annotated[  # noqa: N815 - Sentinel's key
        NotNegative, doc("slow_request_ratio: what takes longer is slow, in milliseconds.")
    ] = 0
    probeNum: Annotated[  # noqa: N815 - Sentinel's key
        NotNegative, doc("Probes that must succeed before it closes; 0: 1.")
    ] = 1
    statSlidingWindowBucketCount: Annotated[  # noqa: N815 - Sentinel's key
        NotNegative, doc("Accepted and unused: the interval slides in ten steps.")
    ] = 0
    id: Annotated[str | int, doc("Accepted and unused.")] = ""

    def __post_init__(self) -> None:
        if self.named_strategy != ERROR_COUNT and self.threshold > 1:
            raise ValueError(f"the threshold of {self.named_strategy} is a share, at most 1")
        if self.named_strategy == SLOW_RATIO and not self.maxAllowedRtMs:
            raise ValueError(f"{SLOW_RATIO} needs maxAllowedRtMs")

    @property
    def named_strategy(self) -> str:
        """The strategy by its name."""
        return self.strategy if isinstance(self.strategy, str) else STRATEGIES[self.strategy]

    def limits(self) -> Limits:
        """The rule in seconds."""
        return Limits(
            threshold=self.threshold,
            is_ratio=self.named_strategy != ERROR_COUNT,
            min_requests=self.minRequestAmount,
            interval=self.statIntervalMs / 1000,
            retry=self.retryTimeoutMs / 1000,
            probes=self.probeNum or 1,
        )

    def is_bad(self, failed: bool, seconds: float) -> bool:
        """Whether a result speaks for opening."""
        return seconds * 1000 > self.maxAllowedRtMs if self.named_strategy == SLOW_RATIO else failed


class CircuitBreakerConfig(Model, frozen=True):
    """Config of ``dgp.filter.http.circuitbreaker``."""

    resources: Annotated[list[Resource], doc("Named groups of paths; a path of none is always let through.")] = []
    rules: Annotated[list[BreakerRule], doc("Breakers. All of a resource must let a request through.")] = []

    def __post_init__(self) -> None:
        known = {resource.name for resource in self.resources}
        for rule in self.rules:
            if rule.resource not in known:
                raise ValueError(f"a rule names the resource {rule.resource!r}, which is not there")


class Guard(NamedTuple):
    """A rule and its breaker."""

    rule: BreakerRule
    breaker: Breaker


class Admitted(NamedTuple):
    """What a request holds from its admission to its end."""

    since: float
    tickets: list[tuple[Guard, int]]


@plugin(Family.HTTP_FILTER, KIND)
class CircuitBreaker(HttpFilter):
    """Answers 503 for a resource that keeps failing, until a probe succeeds."""

    Config = CircuitBreakerConfig

    def __init__(self, config: CircuitBreakerConfig, context: Context) -> None:
        super().__init__(config, context)
        self._matcher = ResourceMatcher(config.resources)
        #: One breaker per rule: the config bounds them.
        self._guards: dict[str, list[Guard]] = defaultdict(list)
        for rule in config.rules:
            self._guards[rule.resource].append(Guard(rule, Breaker(rule.limits())))
        #: Of this instance: a chain may have two.
        self._key = f"{KIND}#{id(self)}"
        self._rejected = context.metrics.counter(
            "pixiu_py_circuit_breaker_rejected_total", "Requests that a circuit breaker refused.", ("resource",)
        )
        self._waits = context.metrics.reading(
            "pixiu_py_circuit_breaker_wait_seconds",
            "Time until a circuit breaker that is not closed lets a request through.",
            ("resource", "strategy", "state"),
        )
        self._waits.add(self._read)

    async def close(self) -> None:
        """Show the breakers no longer."""
        self._waits.drop(self._read)

    def decode(self, exchange: Exchange) -> Response | None:
        """Refuse, or let the request go on."""
        resource = self._matcher.match(exchange.request.decoded_path)
        guards = self._guards.get(resource) if resource is not None else None
        if resource is None or not guards:
            return None
        now = self.context.clock()
        wait = max(guard.breaker.ready_in(now) for guard in guards)
        if wait > 0:
            self._rejected.inc((resource,))
            headers = Headers.of({"Retry-After": retry_after(wait)})
            return local_reply(503, "the circuit breaker is open", headers)
        exchange.params[self._key] = Admitted(now, [(guard, guard.breaker.admit(now)) for guard in guards])
        return None

    def done(self, exchange: Exchange) -> None:
        """Tell the breakers how it went."""
        admitted: Admitted | None = exchange.params.pop(self._key, None)
        if admitted is None:
            return
        now = self.context.clock()
        bad = failed(exchange)
        for guard, ticket in admitted.tickets:
            if exchange.end_reason in _NO_RESULT:
                guard.breaker.release(ticket)
                continue
            before = guard.breaker.state
            guard.breaker.report(ticket, guard.rule.is_bad(bad, now - admitted.since), now)
            if guard.breaker.state is not before:
                _tell(guard)

    def _read(self) -> Iterator[tuple[Labels, float]]:
        now = self.context.clock()
        for guards in self._guards.values():
            for rule, breaker in guards:
                if breaker.state is not State.CLOSED:
                    yield (rule.resource, rule.named_strategy, breaker.state.value), breaker.ready_in(now)


def failed(exchange: Exchange) -> bool:
    """True for a status of 500 and above, and for an answer that an endpoint did not finish."""
    error = exchange.error
    return exchange.status >= 500 or (isinstance(error, GatewayError) and error.side is Side.UPSTREAM)


def _tell(guard: Guard) -> None:
    rule, breaker = guard
    if breaker.state is State.OPEN:
        log.warning("circuit breaker is open", resource=rule.resource, strategy=rule.named_strategy)
    else:
        log.info("circuit breaker is closed again", resource=rule.resource, strategy=rule.named_strategy)
