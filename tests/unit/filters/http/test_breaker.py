"""Rules of the breaker: when it opens, how long, how many probes, and whose results count."""

from __future__ import annotations

import pytest

from pixiu_py.filters.http.breaker import Breaker, Limits, Results, State

RETRY = 30.0


def breaker(
    threshold: float = 2, *, ratio: bool = False, least: int = 0, interval: float = 10.0, probes: int = 1
) -> Breaker:
    """A breaker that is closed."""
    return Breaker(Limits(threshold, ratio, least, interval, RETRY, probes))


def pass_through(made: Breaker, results: str, now: float = 0.0) -> None:
    """One request after the other; ``x`` is a bad one."""
    for result in results:
        assert made.ready_in(now) == 0.0
        made.report(made.admit(now), result == "x", now)


def opened(**limits: int) -> Breaker:
    """A breaker that has opened at 0."""
    made = breaker(1, **limits)
    pass_through(made, "x")
    assert made.state is State.OPEN
    return made


# --- closed ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("results", "state"), [("x...", State.CLOSED), ("x..x", State.OPEN)])
def test_a_number_of_errors_opens_it(results: str, state: State) -> None:
    made = breaker(2)
    pass_through(made, results)
    assert made.state is state


@pytest.mark.parametrize(
    ("threshold", "results", "state"),
    [
        (0.5, ".x.", State.CLOSED),
        (0.5, ".x", State.OPEN),
        (0.3, "......." + "xxx", State.OPEN),
        (1.0, "xxx.x", State.OPEN),
    ],
)
def test_a_share_of_errors_opens_it(threshold: float, results: str, state: State) -> None:
    """At the threshold, not only above it."""
    made = breaker(threshold, ratio=True, least=len(results) if threshold != 1.0 else 3)
    for index, result in enumerate(results):
        if made.state is State.CLOSED:
            pass_through(made, result, index / 10)
    assert made.state is state


def test_too_few_requests_open_nothing() -> None:
    """Bad ones count from the first, so the one that makes it enough opens it."""
    made = breaker(0.5, ratio=True, least=3)
    pass_through(made, "xx")
    assert made.state is State.CLOSED
    pass_through(made, ".")
    assert made.state is State.OPEN


def test_old_results_do_not_count() -> None:
    made = breaker(2, interval=10.0)
    pass_through(made, "x", now=0.0)
    pass_through(made, "x", now=10.0)
    assert made.state is State.CLOSED
    pass_through(made, "x", now=18.9)
    assert made.state is State.OPEN


# --- open ------------------------------------------------------------------------------------------------------------


def test_nothing_passes_until_its_time_is_up() -> None:
    made = opened()
    assert [made.ready_in(now) for now in (0.0, 10.0, 29.0)] == [30.0, 20.0, 1.0]
    assert made.ready_in(30.0) == 0.0
    assert made.state is State.OPEN, "asking changes nothing"


# --- half open -------------------------------------------------------------------------------------------------------


def test_one_probe_at_a_time() -> None:
    """Whoever comes while it is out waits for the next round at most."""
    made = opened()
    made.admit(31.0)
    assert made.state is State.HALF_OPEN
    assert made.ready_in(33.0) == 28.0


def test_a_good_probe_closes_it_with_a_clean_record() -> None:
    made = breaker(2)
    pass_through(made, "xx")
    pass_through(made, ".", now=30.0)
    assert made.state is State.CLOSED
    pass_through(made, "x", now=30.0)
    assert made.state is State.CLOSED


def test_a_bad_probe_opens_it_for_the_whole_time() -> None:
    made = opened()
    pass_through(made, "x", now=31.0)
    assert made.state is State.OPEN
    assert made.ready_in(31.0) == RETRY


def test_every_probe_must_be_good() -> None:
    """As many at a time as are asked for; the last good one closes it, the first bad one opens it."""
    made = opened(probes=3)
    tickets = [made.admit(30.0) for _ in range(3)]
    assert made.ready_in(30.0) > 0
    for ticket in tickets[:2]:
        made.report(ticket, False, 31.0)
        assert made.state is State.HALF_OPEN
    made.report(tickets[2], False, 31.0)
    assert made.state is State.CLOSED
    made = opened(probes=3)
    first, second = made.admit(30.0), made.admit(30.0)
    made.report(first, True, 31.0)
    made.report(second, False, 31.0)
    assert made.state is State.OPEN


def test_a_probe_that_tells_nothing_is_followed_by_another() -> None:
    made = opened()
    made.release(made.admit(30.0))
    assert made.ready_in(30.0) == 0.0
    pass_through(made, ".", now=30.0)
    assert made.state is State.CLOSED


def test_probes_that_do_not_come_back_hold_nobody_up_for_ever() -> None:
    """A new round each retry time, no larger than the first; a late result of an earlier round still counts."""
    made = opened()
    lost, late = made.admit(30.0), None
    assert made.ready_in(60.0) == 0.0
    late = made.admit(60.0)
    assert made.ready_in(60.0) == RETRY
    made.release(lost)
    assert made.ready_in(60.0) == RETRY, "the place of a lost probe has been given away already"
    made.admit(90.0)
    made.report(late, False, 95.0)
    assert made.state is State.CLOSED


# --- late results ----------------------------------------------------------------------------------------------------


def test_requests_from_before_are_no_probes() -> None:
    """Neither a good nor a bad one; nor does what they release let another probe go."""
    made = breaker(1)
    good, bad, gone, opener = (made.admit(0.0) for _ in range(4))
    made.report(opener, True, 0.0)
    made.admit(30.0)
    made.report(good, False, 31.0)
    made.report(bad, True, 31.0)
    made.release(gone)
    assert made.state is State.HALF_OPEN
    assert made.ready_in(31.0) > 0


def test_a_failure_from_before_does_not_open_what_has_closed_since() -> None:
    made = breaker(1)
    slow, opener = made.admit(0.0), made.admit(0.0)
    made.report(opener, True, 0.0)
    pass_through(made, ".", now=30.0)
    made.report(slow, True, 31.0)
    assert made.state is State.CLOSED


def test_results_take_no_more_room_than_their_slots() -> None:
    results = Results(10.0)
    for tenth in range(10_000):
        results.add(tenth % 2 == 0, tenth / 10)
    assert len(results._slots) == Results.SLOTS
    assert results.sums() == (100, 50)


# --- in a row --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("results", "state"), [("x.x.x.", State.CLOSED), ("x.xx", State.OPEN)])
def test_errors_in_a_row_open_it(results: str, state: State) -> None:
    """A good one in between begins the count anew, however old the bad ones are."""
    made = Breaker(Limits(2, False, 0, 1e9, RETRY, in_a_row=True))
    for number, result in enumerate(results):
        pass_through(made, result, now=number * 1000.0)
    assert made.state is state
