"""Exchanges and attempts, counted at the end of each exchange; and label values that are bounded by the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pixiu_py.http.exchange import Attempt, Exchange
    from pixiu_py.observability.metrics import Metrics

NONE: Final = "none"
OTHER: Final = "other"
METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class Traffic:
    """The counters of a whole gateway."""

    def __init__(self, metrics: Metrics) -> None:
        self._requests = metrics.counter(
            "pixiu_py_requests_total",
            "Exchanges by path pattern of the route, method and class of the status.",
            ("route", "method", "status"),
        )
        self._attempts = metrics.counter(
            "pixiu_py_attempts_total",
            "Tries at an endpoint; the outcome is the kind of the error, or the class of the status.",
            ("cluster", "endpoint", "outcome"),
        )

    def count(self, exchange: Exchange) -> None:
        """Take an exchange that is over."""
        self._requests.inc((route_label(exchange), method_label(exchange), status_class(exchange.status)))
        for attempt in exchange.attempts:
            self._attempts.inc((attempt.cluster, attempt.endpoint_id, outcome(attempt)))


class Hosts:
    """The Host of a request as a label: of the first ``limit`` of them, as clients may send any; the others are ``other``."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def label(self, exchange: Exchange) -> str:
        """The host in lower case, with its port if it has one."""
        host = (exchange.request.headers.get("host") or NONE).lower()
        if host in self._known:
            return host
        if len(self._known) >= self._limit:
            return OTHER
        self._known.add(host)
        return host


def route_label(exchange: Exchange) -> str:
    """The path pattern of the route, where the path itself would make a series for every user."""
    return exchange.route.template if exchange.route is not None else NONE


def method_label(exchange: Exchange) -> str:
    """The method, if it is a usual one: clients may invent others."""
    method = exchange.request.method
    return method if method in METHODS else OTHER


def status_class(status: int) -> str:
    """``2xx`` for 200; ``none`` when no status was sent."""
    return f"{status // 100}xx" if status else NONE


def outcome(attempt: Attempt) -> str:
    """How an attempt ended."""
    return attempt.error or status_class(attempt.status)
