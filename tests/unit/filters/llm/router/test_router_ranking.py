"""Policies and the figures that they use."""

from __future__ import annotations

from typing import Any

from pixiu_py.filters.llm.router.model import MetricsSource, Preference, Price, RouterConfig, SelectionPolicy
from pixiu_py.filters.llm.router.ranking import Ranking
from pixiu_py.http.exchange import Attempt
from tests.fakes.actions import respond
from tests.fakes.exchange import make_context
from tests.fakes.upstream import Upstream
from tests.fakes.walk import Clock

STATIC = MetricsSource(
    type="cost",
    provider="static",
    prices={"big": Price(input=5, output=15), "small": Price(input=0.1, output=0.4, cache_read=0.01)},
)
FASTEST = Preference(name="r", description="", models=["m"], selection_policy=SelectionPolicy(prefer="fastest"))


def make(*sources: MetricsSource, clock: Any = None, **config: Any) -> Ranking:
    """A ranking with these sources."""
    return Ranking(RouterConfig(model_metrics_sources=list(sources), **config), make_context(clock or Clock()))


def answered(model: str, seconds: float, endpoint: str = "e", status: int = 200, error: str = "") -> Attempt:
    """An attempt."""
    return Attempt(endpoint, "", "c", status, error, seconds, model)


def test_cheapest() -> None:
    """By the prices of the configuration; what has none comes last. None keeps the order although another is cheaper."""
    ranking = make(STATIC)
    assert ranking.order(["big", "new", "small"], "cheapest") == ("small", "big", "new")
    assert ranking.order(["big", "new", "small"], "none") == ("big", "new", "small")
    rates = ranking.prices.of("small")
    assert rates is not None
    assert rates.cache_read == 0.01


def test_without_figures_the_order_stays() -> None:
    """A request may ask for what nobody measures."""
    ranking = make()
    for policy in ("cheapest", "fastest", "none"):
        assert ranking.order(["b", "a"], policy) == ("b", "a")
    assert not ranking.observes


def test_fastest_by_own_traffic() -> None:
    """Only good answers count, and only if somebody wants to know."""
    ranking = make(routing_preferences=[FASTEST])
    assert ranking.observes
    ranking.observe([answered("a", 0.001, status=500, error="status"), answered("a", 2.0)])
    ranking.observe([answered("b", 1.0), answered("c", 0.0, status=400)])
    assert ranking.order(["a", "c", "b"], "fastest") == ("b", "a", "c")


def test_half_life_of_own_traffic() -> None:
    clock = Clock()
    ranking = make(MetricsSource(type="latency", provider="traffic", half_life=1.0), clock=clock)
    ranking.observe([answered("a", 1.0), answered("b", 2.0)])
    clock.now += 1.0
    ranking.observe([answered("a", 4.0)] * 3)
    assert ranking.order(["a", "b"], "fastest") == ("b", "a")


async def test_catalogue_and_prometheus() -> None:
    """Fetched at the start; the own traffic is not measured besides."""
    prices = respond(
        200, body=b'{"lab":{"models":{"a":{"cost":{"input":9,"output":9}},"b":{"cost":{"input":1,"output":1}}}}}'
    )
    speeds = respond(
        200,
        body=b'{"data":{"resultType":"vector","result":[{"metric":{"model_name":"a"},"value":[0,"1"]}]}}',
    )
    async with Upstream([prices, speeds]) as upstream:
        url = f"http://127.0.0.1:{upstream.port}/"
        ranking = make(
            MetricsSource(type="cost", provider="models.dev", url=url),
            MetricsSource(type="latency", provider="prometheus", url=url, query="q"),
            routing_preferences=[FASTEST],
        )
        await ranking.start()
        assert ranking.order(["a", "b"], "cheapest") == ("b", "a")
        assert ranking.order(["b", "a"], "fastest") == ("a", "b")
        assert not ranking.observes
        await ranking.close()
