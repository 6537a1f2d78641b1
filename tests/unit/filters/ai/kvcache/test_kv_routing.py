"""From matches to an order of endpoints, and the charges for it."""

from __future__ import annotations

from pixiu_py.filters.ai.kvcache.config import KvCacheConfig, ScoreConfig, SpillConfig
from pixiu_py.filters.ai.kvcache.load import Board, Load
from pixiu_py.filters.ai.kvcache.routing import Routing, Scorer
from tests.fakes.clusters import make_endpoints
from tests.fakes.kv import chat, prefix_index, text

ENDPOINTS = make_endpoints(3)
ASKED = chat(text("hello", 4000))


def scorer(board: Board | None = None, **keys: object) -> Scorer:
    """A scorer at a time that stands still."""
    config = KvCacheConfig(enabled=True, **keys)  # type: ignore[arg-type]
    return Scorer(config, board or Board(5.0), lambda: 1.0, prefix_index())


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
    assert made.ledger.prefixes == len(ASKED.keys)
    routing.answered(ENDPOINTS[1])
    routing.over()
    assert account.pending == made.ledger.prefixes == 0


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
    routing = Routing(made, ASKED, {"e2": 1000}, "hit")
    assert routing.rank(ENDPOINTS)[-1] is ENDPOINTS[2]
    routing.over()
    board.put(ENDPOINTS[0], Load(running=8, waiting=4, at=1.0))
    assert Routing(made, ASKED, {}, "miss").rank(ENDPOINTS)[0] is ENDPOINTS[1]
    board.put(ENDPOINTS[1], Load(running=8, waiting=9, at=1.0))
    assert Routing(made, ASKED, {"e0": 1000}, "hit").rank(ENDPOINTS)[0] is ENDPOINTS[2]
    made = scorer(spill=SpillConfig(endpoints=["e2"], in_flight=4))
    busy = make_endpoints(3)
    busy[0].in_flight, busy[1].in_flight = 5, 3
    assert Routing(made, ASKED, {}, "miss").rank(busy)[0] is busy[1]
    busy[1].in_flight = 4
    assert Routing(made, ASKED, {}, "miss").rank(busy)[0] is busy[2]


# --- what the index is told ------------------------------------------------------------------------------------------


def held(made: Scorer) -> set[str]:
    """Who holds the prompt, as the index says."""
    return set(made.index.lookup(ASKED.under("m2").under("m"), ENDPOINTS))  # type: ignore[arg-type]


def test_what_is_on_its_way_is_expected_to_be_there() -> None:
    """Who asks for the same before the answer has begun follows."""
    made = scorer()
    first = Routing(made, chat(text("hello", 4000)), {}, "miss").place(ENDPOINTS)
    assert first is not None
    assert held(made) == {first.id}
    again = Routing(made, ASKED, {first.id: 900}, "hit")
    assert again.shared


def test_what_came_to_nothing_is_not_expected_any_more() -> None:
    """Of what was there before nothing is lost."""
    made = scorer()
    made.index.routed(chat(text("hello", 2000)), ENDPOINTS[1])
    routing = Routing(made, chat(text("hello", 4000)), {"e1": ASKED.ends[2]}, "hit")
    assert routing.place(ENDPOINTS) is ENDPOINTS[1]
    assert made.index.lookup(ASKED, ENDPOINTS) == {"e1": ASKED.ends[-1]}
    routing.answered(None)
    assert made.index.lookup(ASKED, ENDPOINTS) == {"e1": ASKED.ends[2]}
    routing.over()


def test_an_answer_from_elsewhere_teaches_where_it_came_from() -> None:
    """The first endpoint failed, the walk went on without asking."""
    made = scorer()
    routing = Routing(made, chat(text("hello", 4000)), {}, "miss")
    first = routing.place(ENDPOINTS)
    other = next(endpoint for endpoint in ENDPOINTS if endpoint is not first)
    routing.answered(other)
    assert held(made) == {other.id}


def test_an_explanation_is_short_however_many_endpoints_there_are() -> None:
    """It goes into a header."""
    made = scorer()
    routing = Routing(made, ASKED, {"e1": 900}, "hit")
    routing.place(make_endpoints(100))
    assert repr(routing).endswith("; and 92 more")
    assert len(repr(routing)) < 1200
