"""Budget: the worked sequences of the reference, and what must hold for any sequence.

Rates per million tokens: A 3.0 and 0.3 from the cache, B 5.0 and 0.5, C 0.1 and 0.01; prompts of 100 000 tokens; 25 percent.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixiu_py.filters.llm.router.affinity import Pin
from pixiu_py.filters.llm.router.budget import Read, Rules, Ruling, Turn, is_warm, rule, switch_cost
from pixiu_py.filters.llm.router.prices import Prices, Rates
from pixiu_py.filters.llm.router.session_binding import MOST_VISITS, Binding, Visit

PRICES = Prices({"A": Rates(3.0, 15.0, 0.3), "B": Rates(5.0, 25.0, 0.5), "C": Rates(0.1, 0.4, 0.01)})
RULES = Rules(share=0.25, window=300.0, discount=0.1, replenish=True)
TOKENS = 100_000
NOW = 1_000_000.0
A, B, C = (Pin(model, f"route {model}") for model in "ABC")


def warm(pin: Pin = A, **fields: object) -> Binding:
    """A conversation whose model has answered a moment ago."""
    visits = (Visit(pin.model, NOW - 10, TOKENS),)
    fields = {"default_model": pin.model, "visits": visits, **fields}
    return Binding(pin.model, pin.route, NOW - 10, **fields)  # type: ignore[arg-type]


def ruled(binding: Binding | None, candidate: Pin, now: float = NOW, rules: Rules = RULES) -> tuple[Ruling, Binding]:
    """The ruling, and the binding after its request."""
    ruling = rule(binding, candidate, TOKENS, PRICES.of, rules, now)
    return ruling, ruling.turn.onto(binding)


def test_a_new_conversation_goes_where_it_is_sent() -> None:
    """Sequence 1."""
    ruling, after = ruled(None, A)
    assert ruling[:4] == (A, False, False, "new")
    assert (after.model_name, after.route_name, after.default_model, after.baseline_usd) == ("A", "route A", "A", 0.0)


def test_staying_adds_to_the_baseline() -> None:
    """Sequence 2."""
    ruling, after = ruled(warm(), A)
    assert ruling[:4] == (A, True, False, "same")
    assert after.baseline_usd == pytest.approx(0.03)
    assert (after.switches, after.switch_spend_usd, after.last_used) == (0, 0.0, NOW)


def test_a_switch_within_the_budget_is_paid() -> None:
    """Sequence 3: it costs 0.47; a quarter of 2.03 is 0.5075."""
    ruling, after = ruled(warm(baseline_usd=2.0), B)
    assert ruling[:4] == (B, True, True, "within")
    assert after.switch_spend_usd == pytest.approx(0.47)
    assert (after.model_name, after.switches, after.default_model) == ("B", 1, "A")


def test_a_switch_above_the_budget_is_not_made() -> None:
    """Sequence 3: a quarter of 1.03 is 0.2575. The model stays with its route, and nothing is spent."""
    ruling, after = ruled(warm(baseline_usd=1.0), B)
    assert ruling[:4] == (A, True, False, "above")
    assert after.switch_spend_usd == 0.0
    assert (after.model_name, after.route_name, after.switches) == ("A", "route A", 0)
    assert after.baseline_usd == pytest.approx(1.03)


def test_a_switch_that_saves_is_free() -> None:
    """Sequence 4: C reads anew for less than A reads from its cache."""
    assert switch_cost(warm(), "C", TOKENS, PRICES.of, RULES, NOW) == pytest.approx(-0.02)
    ruling, after = ruled(warm(), C)
    assert ruling[:4] == (C, True, True, "free")
    assert after.switch_spend_usd == 0.0


def test_the_baseline_is_priced_at_the_model_of_the_beginning() -> None:
    """Sequence 5: else a cheap stay would leave no budget for a return."""
    _, after = ruled(warm(C, default_model="A"), C)
    assert after.baseline_usd == pytest.approx(0.03)


def test_a_model_that_was_here_a_moment_ago_still_has_its_cache() -> None:
    """Sequence 6: only what it has not read is read anew."""
    visits = (Visit("B", NOW - 30, TOKENS), Visit("A", NOW - 10, TOKENS))
    binding = warm(baseline_usd=0.4, visits=visits)
    assert switch_cost(binding, "B", TOKENS, PRICES.of, RULES, NOW) == pytest.approx(0.02)
    assert ruled(binding, B)[0][:4] == (B, True, True, "within")
    long_ago = warm(baseline_usd=0.4, visits=(Visit("B", NOW - 301, TOKENS), visits[1]))
    assert ruled(long_ago, B)[0].reason == "above"


def test_a_conversation_that_rested_begins_anew() -> None:
    """Sequence 7: its cache has gone, so nothing is lost by leaving."""
    old = warm(baseline_usd=2.0, switch_spend_usd=0.4, switches=3)
    ruling, after = ruled(old, B, NOW + 600)
    assert ruling[:4] == (B, False, False, "cold")
    assert after == Binding("B", "route B", NOW + 600, "B", visits=(Visit("B", NOW + 600),))


def test_totals_are_kept_over_a_rest_if_that_is_wanted() -> None:
    old = warm(baseline_usd=2.0, switch_spend_usd=0.4, switches=3)
    _, after = ruled(old, B, NOW + 600, replace(RULES, replenish=False))
    assert (after.baseline_usd, after.switch_spend_usd, after.switches, after.default_model) == (2.0, 0.4, 3, "B")


def test_who_insists_gets_it_when_the_budget_covers_it() -> None:
    """Sequence 8: vetoed through warm turn 62, allowed at 63, as 0.25 * 0.03 * 63 = 0.4725."""
    _, binding = ruled(None, A, NOW)
    now, reasons = NOW, []
    for _ in range(63):
        now += 10
        ruling, binding = ruled(binding, B, now)
        reasons.append(ruling.reason)
        binding = Read(ruling.pin.model, TOKENS, now).onto(binding) or binding
    assert reasons == ["above"] * 62 + ["within"]
    assert binding.switch_spend_usd == pytest.approx(0.47)


def test_without_prices_nothing_is_held_back() -> None:
    """What is not known cannot be weighed: the decision counts."""
    for candidate, binding in ((Pin("X"), warm()), (A, warm(Pin("X")))):
        assert ruled(binding, candidate)[0][:4] == (candidate, True, True, "no_price")
    assert ruled(warm(Pin("X")), Pin("X"))[1].baseline_usd == 0.0


def test_a_cached_rate_that_is_not_known_is_a_share_of_the_plain_one() -> None:
    prices = Prices({"A": Rates(3.0, 15.0), "B": Rates(5.0, 25.0)})
    cost = switch_cost(warm(), "B", TOKENS, prices.of, RULES, NOW)
    assert cost == pytest.approx(0.47)


def test_the_tokens_that_were_counted_count() -> None:
    """An estimate stands in only until there has been an answer that told."""
    ruling = rule(warm(), A, 7, PRICES.of, RULES, NOW)
    assert ruling.turn.baseline == pytest.approx(0.03)
    ruling = rule(warm(visits=()), A, 50_000, PRICES.of, RULES, NOW)
    assert ruling.turn.baseline == pytest.approx(0.015)


def test_cost_grows_with_the_prompt() -> None:
    """A short conversation may go nearly for nothing."""
    costs = [switch_cost(warm(), "B", tokens, PRICES.of, RULES, NOW) or 0.0 for tokens in (0, 100, 1000, 10_000)]
    assert costs == pytest.approx([0.0, 0.00047, 0.0047, 0.047])


def test_the_window_ends_when_it_is_over() -> None:
    assert is_warm(Binding("A", None, NOW), NOW + 300, 300)
    assert not is_warm(Binding("A", None, NOW), NOW + 300.1, 300)


def test_visits_are_bounded() -> None:
    """The latest are remembered, each model once."""
    binding: Binding | None = None
    for number in range(3 * MOST_VISITS):
        binding = Turn(Pin(f"m{number % (2 * MOST_VISITS)}"), NOW + number, 300.0, True).onto(binding)
    assert binding is not None
    assert len(binding.visits) == MOST_VISITS == len({visit.model for visit in binding.visits})
    assert binding.visits[-1].model == binding.model_name


def test_two_requests_at_once_both_count() -> None:
    """Each adds to what is there by then, so that neither undoes the other."""
    start = warm(baseline_usd=2.0)
    first, second = (rule(start, pin, TOKENS, PRICES.of, RULES, NOW).turn for pin in (A, B))
    for order in ((first, second), (second, first)):
        after = order[1].onto(order[0].onto(start))
        assert after.baseline_usd == pytest.approx(2.06)
        assert after.switch_spend_usd == pytest.approx(0.47)


def test_what_an_answer_told_is_kept_with_its_model() -> None:
    binding = Read("B", 7, NOW).onto(warm())
    assert binding is not None
    assert binding.visit("B") == Visit("B", NOW, 7)
    assert binding.visit("A") == Visit("A", NOW - 10, TOKENS)
    assert (binding.model_name, binding.last_used) == ("A", NOW)
    assert Read("B", 7, NOW).onto(None) is None


@given(
    st.lists(st.tuples(st.sampled_from([A, B, C, Pin("X")]), st.integers(1, 400), st.integers(0, 10**6)), max_size=80),
    st.floats(0, 1),
)
def test_what_is_spent_stays_below_the_share(turns: list[tuple[Pin, int, int]], share: float) -> None:
    """Whatever is asked for, when, and however long the prompt: at every turn of every sequence."""
    binding: Binding | None = None
    now = NOW
    for candidate, pause, tokens in turns:
        now += pause
        ruling = rule(binding, candidate, tokens, PRICES.of, replace(RULES, share=share), now)
        assert ruling.pin == candidate or (binding is not None and ruling.pin.model == binding.model_name)
        binding = ruling.turn.onto(binding)
        assert binding.model_name == ruling.pin.model
        assert binding.switch_spend_usd <= share * binding.baseline_usd + 1e-9
        binding = Read(ruling.pin.model, tokens, now).onto(binding)
