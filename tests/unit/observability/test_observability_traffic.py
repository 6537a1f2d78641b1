"""Rules of counting: each exchange and each attempt once, under labels that clients cannot multiply."""

from __future__ import annotations

import pytest

from pixiu_py.http.exchange import Attempt
from pixiu_py.observability.metrics import Metrics
from pixiu_py.observability.traffic import Hosts, Traffic, method_label, outcome, status_class
from tests.fakes.exchange import make_exchange


def test_an_exchange_and_its_attempts_are_counted() -> None:
    """What no route took has the route ``none``."""
    metrics = Metrics()
    exchange = make_exchange("POST", "/some/path")
    exchange.status = 201
    exchange.attempts = [Attempt("a", "", "main", 503, "status"), Attempt("b", "", "main", 201)]
    traffic = Traffic(metrics)
    traffic.count(exchange)
    traffic.count(exchange)
    text = metrics.render().decode()
    assert 'pixiu_py_requests_total{route="none",method="POST",status="2xx"} 2' in text
    assert 'pixiu_py_attempts_total{cluster="main",endpoint="a",outcome="status"} 2' in text
    assert 'pixiu_py_attempts_total{cluster="main",endpoint="b",outcome="2xx"} 2' in text


@pytest.mark.parametrize(("method", "label"), [("GET", "GET"), ("PATCH", "PATCH"), ("get", "other"), ("X", "other")])
def test_a_method_that_nobody_knows_makes_no_series(method: str, label: str) -> None:
    assert method_label(make_exchange(method)) == label


@pytest.mark.parametrize(("status", "label"), [(0, "none"), (101, "1xx"), (204, "2xx"), (599, "5xx")])
def test_class_of_a_status(status: int, label: str) -> None:
    assert status_class(status) == label


def test_an_outcome_is_the_error_if_there_was_one() -> None:
    assert outcome(Attempt("a", "", "c", 502, "truncated")) == "truncated"
    assert outcome(Attempt("a", "", "c", 502)) == "5xx"
    assert outcome(Attempt("a", "", "c")) == "none"


def test_only_so_many_hosts_have_a_label() -> None:
    """Those that came first keep theirs."""
    hosts = Hosts(2)
    given = ["a.test", "A.test", "b.test:8080", "c.test", "a.test"]
    labels = [hosts.label(make_exchange(headers={"Host": host})) for host in given]
    assert labels == ["a.test", "a.test", "b.test:8080", "other", "a.test"]
    assert Hosts(1).label(make_exchange()) == "none"
