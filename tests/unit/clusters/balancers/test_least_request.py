"""LeastRequest."""

from __future__ import annotations

from tests.fakes.clusters import make_balancer
from tests.fakes.exchange import make_exchange


def test_of_two_the_less_busy_one_always_wins() -> None:
    chooser = make_balancer("LeastRequest", 2)
    chooser.endpoints[0].in_flight = 1
    assert {chooser.pick(make_exchange()) for _ in range(50)} == {chooser.endpoints[1]}


def test_the_two_that_are_drawn_are_different_ones() -> None:
    """So the busiest of all is never picked while there is another."""
    chooser = make_balancer("LeastRequest", 5)
    busiest = chooser.endpoints[2]
    busiest.in_flight = 1
    assert busiest not in {chooser.pick(make_exchange()) for _ in range(500)}


def test_load_stays_even_where_chance_alone_would_pile_up() -> None:
    chooser = make_balancer("LeastRequest", 10)
    for _ in range(1000):
        picked = chooser.pick(make_exchange())
        assert picked is not None
        picked.in_flight += 1
    busy = [endpoint.in_flight for endpoint in chooser.endpoints]
    assert max(busy) - min(busy) <= 8  # by pure chance it would be about 30
