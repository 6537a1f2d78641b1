"""From matches to an order of endpoints, and the charges for it."""

from __future__ import annotations

from pixiu_py.filters.ai.kvcache.config import KvCacheConfig, ScoreConfig, SpillConfig
from pixiu_py.filters.ai.kvcache.ledger import Ledger
from pixiu_py.filters.ai.kvcache.load import Board, Load
from pixiu_py.filters.ai.kvcache.routing import Routing, Scorer
from tests.fakes.clusters import make_endpoints
from tests.fakes.kv import chat, text

ENDPOINTS = make_endpoints(3)
ASKED = chat(text("hello", 4000))


def scorer(board: Board | None = None, **keys: object) -> Scorer:
    """A scorer at a time that stands still."""
    config = KvCacheConfig(enabled=True, **keys)  # type: ignore[arg-type]
    return Scorer(config, Ledger(), board or Board(5.0), lambda: 1.0)


def test_the_holder_of_the_prefix_comes_first() -> None:
    """The others behind it, by their load."""
    made = scorer()
    made.ledger.of(ENDPOINTS[0]).pending = 500
    routing = Routing(made, ASKED, {"e1": 1000}, "hit")
    assert routing.place(ENDPOINTS) is ENDPOINTS[1]
    assert routing.rank(ENDPOINTS) == [ENDPOINTS[1], ENDPOINTS[2], ENDPOINTS[0]]


def test_what_is_missing_is_charged_until_it_is_answered() -> None:
    """So that the next request knows, before any engine could tell."""
    made = scorer()
    routing = Routing(made, ASKED, {"e1": 900}, "hit")
    routing.place(ENDPOINTS)
    account = made.ledger.of(ENDPOINTS[1])
    assert account.pending == ASKED.length - 900
    routing.answered()
    routing.answered()
    assert account.pending == 0


def test_after_a_failure_the_rest_is_ordered_again() -> None:
    """And the charge moves on with the request."""
    made = scorer()
    routing = Routing(made, ASKED, {"e1": 900, "e2": 500}, "hit")
    routing.place(ENDPOINTS)
    rest = [ENDPOINTS[0], ENDPOINTS[2]]
    assert routing.rank(rest) == [ENDPOINTS[2], ENDPOINTS[0]]
    assert made.ledger.of(ENDPOINTS[1]).pending == 0
    assert made.ledger.of(ENDPOINTS[2]).pending == ASKED.length - 500


def test_an_endpoint_that_cools_down_is_not_charged() -> None:
    """The next one will be asked."""
    endpoints = make_endpoints(2)
    endpoints[1].cooldown.rest(1.0, 60.0)
    made = scorer()
    assert Routing(made, ASKED, {"e1": 900}, "hit").place(endpoints) is endpoints[0]
    assert made.ledger.of(endpoints[1]).pending == 0


def test_a_prompt_that_nobody_holds_may_be_left_to_the_balancer() -> None:
    """By configuration; else the least busy endpoint gets it."""
    made = scorer()
    made.ledger.of(ENDPOINTS[0]).pending = 500
    made.ledger.of(ENDPOINTS[2]).pending = 500
    assert Routing(made, ASKED, {}, "miss").place(ENDPOINTS) is ENDPOINTS[1]
    routing = Routing(scorer(score=ScoreConfig(cold="balancer")), ASKED, {}, "miss")
    assert routing.place(ENDPOINTS) is None
    assert routing.rank(ENDPOINTS) == []


def test_traffic_spills_only_when_everybody_else_is_saturated() -> None:
    """Until then an endpoint that is spilled to comes last, whatever it holds."""
    board = Board(5.0)
    made = scorer(board, spill=SpillConfig(endpoints=["e2"], waiting=4))
    assert Routing(made, ASKED, {"e2": 1000}, "hit").rank(ENDPOINTS)[-1] is ENDPOINTS[2]
    board.put(ENDPOINTS[0], Load(running=8, waiting=4, at=1.0))
    assert Routing(made, ASKED, {}, "miss").rank(ENDPOINTS)[0] is ENDPOINTS[1]
    board.put(ENDPOINTS[1], Load(running=8, waiting=9, at=1.0))
    assert Routing(made, ASKED, {"e0": 1000}, "hit").rank(ENDPOINTS)[0] is ENDPOINTS[2]
