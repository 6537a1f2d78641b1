"""The clock of an endpoint: every event in every state, and the rules that make it fair."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pixiu_py.clusters.cooldown import Cooldown, State

SECONDS = 10.0
NOW = 100.0


def ready() -> Cooldown:
    return Cooldown(SECONDS, threshold=2)


def suspect() -> Cooldown:
    """Ready, with one failure of two counted."""
    cooldown = ready()
    cooldown.failed(NOW)
    return cooldown


def cooling() -> Cooldown:
    cooldown = suspect()
    cooldown.failed(NOW, "reset")
    return cooldown


def trial() -> Cooldown:
    """The cooldown is over at ``NOW``; nobody has tried yet."""
    cooldown = ready()
    cooldown.failed(NOW - 2 * SECONDS)
    cooldown.failed(NOW - SECONDS, "reset")
    return cooldown


def trying() -> Cooldown:
    """The trial request is out."""
    cooldown = trial()
    cooldown.begin(NOW)
    return cooldown


def resting() -> Cooldown:
    cooldown = ready()
    cooldown.rest(NOW, 5.0)
    return cooldown


EVENTS: dict[str, Callable[[Cooldown], None]] = {
    "begin": lambda cooldown: cooldown.begin(NOW),
    "succeeded": lambda cooldown: cooldown.succeeded(NOW),
    "failed": lambda cooldown: cooldown.failed(NOW, "reset"),
    "rest": lambda cooldown: cooldown.rest(NOW, 3.0),
    "released": lambda cooldown: cooldown.released(),
}

R, C, T, P = State.READY, State.COOLING, State.TRIAL, State.RESTING

#: State before → the state right after each event, in the order of EVENTS.
TABLE = {
    ready: (R, R, R, P, R),
    suspect: (R, R, C, P, R),
    cooling: (C, R, C, P, C),
    trial: (C, R, C, P, T),
    trying: (C, R, C, P, T),
    resting: (P, P, P, P, P),
}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("make", TABLE, ids=lambda make: make.__name__)
def test_every_event_in_every_state_leads_where_the_table_says(make: Callable[[], Cooldown], event: str) -> None:
    cooldown = make()
    EVENTS[event](cooldown)
    expected = TABLE[make][list(EVENTS).index(event)]
    assert cooldown.state(NOW) is expected
    assert cooldown.available(NOW) is (expected in (R, T))


@pytest.mark.parametrize(
    ("make", "state"), [(ready, R), (suspect, R), (cooling, C), (trial, T), (trying, C), (resting, P)]
)
def test_the_states_are_what_their_names_say(make: Callable[[], Cooldown], state: State) -> None:
    assert make().state(NOW) is state


def test_a_cooldown_ends_in_a_trial_for_one_request_only() -> None:
    cooldown = cooling()
    end = NOW + SECONDS
    assert cooldown.state(end - 0.001) is C
    assert cooldown.state(end) is T
    cooldown.begin(end)
    assert not cooldown.available(end)


def test_a_trial_that_nobody_reports_on_may_be_repeated_after_another_cooldown() -> None:
    cooldown = trying()
    assert cooldown.state(NOW + SECONDS) is T


def test_a_failed_trial_starts_the_cooldown_anew() -> None:
    cooldown = trying()
    cooldown.failed(NOW + 1, "timeout")
    assert cooldown.ends() == NOW + 1 + SECONDS
    assert cooldown.reason == "timeout"


def test_success_forgives_everything_so_the_threshold_counts_failures_in_a_row() -> None:
    cooldown = suspect()
    cooldown.succeeded(NOW)
    assert cooldown.untroubled
    cooldown.failed(NOW)
    assert cooldown.state(NOW) is R


def test_a_success_does_not_end_a_rest_before_its_time() -> None:
    """It may be the answer to a request that was sent before the endpoint asked for the rest."""
    cooldown = resting()
    cooldown.succeeded(NOW + 1)
    assert cooldown.ends() == NOW + 5.0
    cooldown.succeeded(NOW + 5.0)
    assert cooldown.untroubled


def test_a_rest_is_no_failure_and_needs_no_trial() -> None:
    cooldown = resting()
    assert cooldown.failures == 0
    assert cooldown.state(NOW + 5.0) is R


def test_a_rest_during_a_cooldown_does_not_end_it() -> None:
    cooldown = cooling()
    cooldown.rest(NOW, 3.0)
    assert cooldown.state(NOW + 3.0) is C


def test_a_shorter_rest_never_shortens_a_longer_one() -> None:
    cooldown = resting()
    cooldown.rest(NOW, 1.0)
    assert cooldown.ends() == NOW + 5.0


def test_ends_is_the_latest_of_all_that_is_held_against_the_endpoint() -> None:
    cooldown = cooling()
    cooldown.rest(NOW, 60.0)
    assert cooldown.ends() == NOW + 60.0
    assert ready().ends() <= NOW


def test_without_a_length_failures_never_cool_but_a_rest_is_still_honoured() -> None:
    cooldown = Cooldown(0.0, threshold=1)
    cooldown.failed(NOW)
    assert cooldown.available(NOW)
    cooldown.rest(NOW, 2.0)
    assert cooldown.state(NOW) is P


def test_one_failure_or_one_rest_is_trouble() -> None:
    assert ready().untroubled
    assert not suspect().untroubled
    assert not resting().untroubled


def test_repr_shows_what_is_held_against_the_endpoint() -> None:
    assert repr(cooling()) == f"<Cooldown failures=2/2 until={NOW + SECONDS} resting=0.0>"
