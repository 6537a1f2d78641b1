"""What workers tell each other: the latest counts, nothing grows, and what comes late is known all the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pixiu_py.clusters import agreement as module
from pixiu_py.clusters.agreement import Agreement, Cooling, Duty, Health, Notice, Notices, Started, decode, encode
from pixiu_py.clusters.cluster import Cluster
from pixiu_py.clusters.cooldown import State
from tests.fakes.clusters import endpoint_config, make_cluster

A = ("main", "a", "10.0.0.1:80", "")
B = ("main", "b", "10.0.0.2:80", "")


def cluster() -> Cluster:
    return make_cluster(
        endpoint_config("a", host="10.0.0.1", health_check_interval=1000),
        endpoint_config("b", host="10.0.0.2", health_check_interval=1000),
    )


class Machine:
    """Two workers that hear each other at once."""

    def __init__(self) -> None:
        self.now = 100.0
        self.told: list[Notice] = []
        self.agreements = [Agreement(self.to(1), self.clock), Agreement(self.to(0), self.clock)]
        self.clusters = [cluster(), cluster()]
        for agreement, its in zip(self.agreements, self.clusters, strict=True):
            agreement.join(its)

    def clock(self) -> float:
        return self.now

    def to(self, number: int) -> Callable[[Notice], None]:
        def publish(notice: Notice) -> None:
            self.told.append(notice)
            self.agreements[number].hear([decode(encode(notice))])

        return publish

    def states(self) -> list[State]:
        """Of endpoint ``a``, in each worker."""
        return [its.endpoints[0].cooldown.state(self.now) for its in self.clusters]


# --- notices ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("notice", [Cooling(A, 1.5, 2.5, 3.5, "reset"), Health(B, False), Duty(), Started()])
def test_notice_survives_the_way(notice: Notice) -> None:
    assert decode(encode(notice)) == notice


def test_newer_notice_takes_the_place_of_an_older_one() -> None:
    """About the same endpoint and of the same kind; so nothing grows while nobody reads."""
    notices = Notices()
    for until in range(1000):
        notices.put(Cooling(A, float(until), 0.0, 0.0, ""))
        notices.put(Health(A, until % 2 == 0))
    assert list(notices) == [Cooling(A, 999.0, 0.0, 0.0, ""), Health(A, False)]


def test_table_is_bounded() -> None:
    """The oldest makes room."""
    notices = Notices(most=3)
    for number in range(10):
        notices.put(Health(("main", str(number), "", ""), False))
    assert [notice.key[1] for notice in notices if notice.key] == ["7", "8", "9"]


def test_newcomer_is_told_what_still_matters() -> None:
    """A cooldown that waits for its trial does; one that a success has ended, a rest that is over, good health do not."""
    matters = [Cooling(A, 5.0, 0.0, 0.0, ""), Health(B, False), Cooling(B, 0.0, 0.0, 50.0, "")]
    notices = Notices()
    for notice in [*matters, Health(A, True), Cooling(("main", "c", "", ""), 0.0, 0.0, 9.0, "")]:
        notices.put(notice)
    notices.forget_outdated(10.0)
    assert list(notices) == matters


# --- two workers -----------------------------------------------------------------------------------------------------


def test_cooldown_is_heeded_by_the_other_worker() -> None:
    machine = Machine()
    machine.clusters[0].endpoints[0].cooldown.failed(machine.now, "reset")
    assert machine.states() == [State.COOLING, State.COOLING]
    assert machine.clusters[1].endpoints[0].cooldown.reason == "reset"
    assert machine.clusters[1].endpoints[1].cooldown.untroubled


def test_success_in_one_worker_clears_it_in_both() -> None:
    machine = Machine()
    machine.clusters[0].endpoints[0].cooldown.failed(machine.now)
    machine.clusters[1].endpoints[0].cooldown.succeeded(machine.now)
    assert machine.states() == [State.READY, State.READY]
    assert all(its.endpoints[0].cooldown.untroubled for its in machine.clusters)


def test_one_trial_for_the_machine() -> None:
    """When a cooldown ends, one worker sends the trial; its failure begins another cooldown, for both."""
    machine = Machine()
    first, second = (its.endpoints[0].cooldown for its in machine.clusters)
    first.failed(machine.now)
    machine.now += 1.5
    assert machine.states() == [State.TRIAL, State.TRIAL]
    second.begin(machine.now)
    assert machine.states() == [State.COOLING, State.COOLING]
    second.released()
    assert machine.states() == [State.TRIAL, State.TRIAL]
    second.begin(machine.now)
    second.failed(machine.now)
    assert first.ends() == second.ends() == machine.now + 1.0


def test_rest_is_heeded_and_never_shortened() -> None:
    machine = Machine()
    first, second = (its.endpoints[0].cooldown for its in machine.clusters)
    first.rest(machine.now, 9.0)
    assert machine.states() == [State.RESTING, State.RESTING]
    second.rest(machine.now, 1.0)
    assert first.resting_until == second.resting_until == machine.now + 9.0


def test_failures_below_the_threshold_are_each_workers_own() -> None:
    """Only what begins a cooldown is told; a rest elsewhere does not forgive them."""
    machine = Machine()
    first, second = (its.endpoints[0].cooldown for its in machine.clusters)
    first.threshold = second.threshold = 3
    first.failed(machine.now)
    assert not machine.told
    second.rest(machine.now, 1.0)
    assert first.failures == 1


def test_nothing_is_told_of_an_endpoint_that_is_well() -> None:
    """Neither of its successes nor of requests that were given up."""
    machine = Machine()
    cooldown = machine.clusters[0].endpoints[0].cooldown
    cooldown.begin(machine.now)
    cooldown.released()
    cooldown.succeeded(machine.now)
    assert not machine.told


def test_verdict_of_the_worker_on_duty_serves_both() -> None:
    machine = Machine()
    first, second = machine.clusters
    first.set_health(first.endpoints[0], False)
    machine.agreements[0].judged(first.endpoints[0], False)
    assert [endpoint.id for endpoint in second.candidates()] == ["b"]
    machine.agreements[0].judged(first.endpoints[0], True)
    assert [endpoint.id for endpoint in second.candidates()] == ["a", "b"]


def test_endpoint_that_is_found_later_is_known_already() -> None:
    """DNS may tell one worker sooner than another."""
    late = cluster()
    addresses = [(0, "10.0.0.1", 80), (1, "10.0.0.2", 80)]
    late.publish(addresses[1:])
    told: list[Notice] = []
    agreement = Agreement(told.append, lambda: 100.0)
    agreement.join(late)
    agreement.hear([Cooling(A, 101.0, 0.0, 0.0, ""), Health(A, False), Duty()])
    late.publish(addresses)
    found = late.find("a")
    assert found is not None
    assert found.cooldown.state(100.0) is State.COOLING
    assert not found.healthy
    found.cooldown.succeeded(100.0)
    assert told == [Cooling(A, 0.0, 0.0, 0.0, "")]


def test_notice_about_another_address_or_key_changes_nothing() -> None:
    """The same id with another address is another endpoint, and so is one with another key."""
    machine = Machine()
    others = [("main", "a", "10.9.9.9:80", ""), ("main", "a", "10.0.0.1:80", "digest"), ("else", "a", "", "")]
    machine.agreements[0].hear([Cooling(key, 999.0, 0.0, 0.0, "") for key in others])
    assert machine.states()[0] is State.READY


def test_many_endpoints_in_trouble_are_not_looked_through_at_each_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is outdated goes once in a while; until then, and where nothing is, a change costs no walk."""
    monkeypatch.setattr(module, "MOST_NOTICES", 4)
    walks = []
    monkeypatch.setattr(Notices, "forget_outdated", lambda self, now: walks.append(now))
    now = [100.0]
    agreement = Agreement(lambda notice: None, lambda: now[0])
    for number in range(10):
        agreement.hear([Cooling(("c", str(number), "", ""), 1.0, 0.0, 0.0, "")])
    now[0] = 101.0
    agreement.hear([])
    assert walks == [100.0, 101.0]
