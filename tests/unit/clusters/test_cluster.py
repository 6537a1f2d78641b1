"""A cluster: views per model, health, panic, and endpoints that outlive a change."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from pixiu_py.clusters.balancers.round_robin import RoundRobin
from pixiu_py.clusters.build import endpoint_at
from pixiu_py.clusters.cluster import Cluster
from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.config.model import Cluster as ClusterConfig
from pixiu_py.config.model import HashKey, HealthCheck
from tests.fakes.clusters import cluster_context, endpoint_config, make_cluster
from tests.fakes.exchange import make_exchange

EXCHANGE = make_exchange()


def ids(endpoints: Iterable[Endpoint]) -> list[str]:
    return [endpoint.id for endpoint in endpoints]


def picks(cluster: Cluster, count: int, model: str = "") -> list[str]:
    picked = [cluster.pick(EXCHANGE, model) for _ in range(count)]
    return [endpoint.id for endpoint in picked if endpoint is not None]


def three() -> Cluster:
    return make_cluster(*(endpoint_config(id_, port=port) for port, id_ in enumerate("abc", 1)))


def by_model() -> Cluster:
    """``a`` serves x, ``b`` serves x and y, ``c`` serves anything."""
    return make_cluster(
        endpoint_config("a", port=1, models=["x"]),
        endpoint_config("b", port=2, models=["x", "y"]),
        endpoint_config("c", port=3),
    )


# --- views -----------------------------------------------------------------------------------------------------------


def test_a_model_is_served_by_those_that_name_it_and_those_that_name_none() -> None:
    cluster = by_model()
    assert ids(cluster.candidates("x")) == ["a", "b", "c"]
    assert ids(cluster.candidates("y")) == ["b", "c"]
    assert ids(cluster.candidates("unheard-of")) == ["c"]
    assert ids(cluster.candidates()) == ["a", "b", "c"]


def test_a_model_that_nobody_serves_has_no_endpoint() -> None:
    cluster = make_cluster(endpoint_config("a", models=["x"]))
    assert cluster.pick(EXCHANGE, "y") is None
    assert cluster.candidates("y") == ()
    assert not cluster.serves("y")
    assert cluster.serves("x")
    assert cluster.serves("")


def test_each_model_takes_turns_of_its_own() -> None:
    cluster = by_model()
    assert picks(cluster, 2, "x") == ["a", "b"]
    assert picks(cluster, 3, "y") == ["b", "c", "b"]
    assert picks(cluster, 1, "x") == ["c"]


def test_views_are_as_many_as_the_config_declares_whatever_clients_ask_for() -> None:
    cluster = by_model()
    for number in range(1000):
        cluster.pick(EXCHANGE, f"model-{number}")
    assert sorted(cluster._views) == ["", "x", "y"]


def test_without_restrictions_there_is_one_view_for_all_names() -> None:
    cluster = three()
    assert picks(cluster, 2, "x") + picks(cluster, 1, "y") + picks(cluster, 1) == ["a", "b", "c", "a"]


def test_a_model_is_served_also_while_no_address_is_known() -> None:
    """It is the difference between 503, try later, and 404, no such model."""
    cluster = make_cluster(endpoint_config("a", models=["x"]))
    cluster.publish([])
    assert cluster.serves("x")
    assert not cluster.serves("y")
    assert cluster.pick(EXCHANGE, "x") is None


def test_a_cluster_without_any_endpoint_picks_none_and_denies_no_model() -> None:
    cluster = make_cluster()
    assert cluster.pick(EXCHANGE) is None
    assert cluster.serves("x")


def test_restricts_models_tells_whether_the_model_matters() -> None:
    assert by_model().restricts_models
    assert not three().restricts_models


def test_needs_body_is_the_balancers() -> None:
    assert not three().needs_body
    assert make_cluster(endpoint_config("a"), lb="RingHashing", hash_key=HashKey(body_field="user")).needs_body


# --- ids -------------------------------------------------------------------------------------------------------------


def test_find_by_id() -> None:
    cluster = three()
    assert cluster.find("b") is cluster.endpoints[1]
    assert cluster.find("x") is None


def test_find_by_configured_id_gives_its_first_address() -> None:
    cluster = three()
    cluster.many = True
    cluster.publish([(0, "192.0.2.1", 1), (0, "192.0.2.2", 1)])
    assert ids(cluster.endpoints) == ["a@192.0.2.1", "a@192.0.2.2"]
    assert cluster.find("a") is cluster.endpoints[0]
    assert cluster.find("a@192.0.2.2") is cluster.endpoints[1]


# --- health ----------------------------------------------------------------------------------------------------------


def test_an_unhealthy_endpoint_is_neither_picked_nor_a_candidate_until_it_is_well() -> None:
    cluster = three()
    b = cluster.endpoints[1]
    cluster.set_health(b, healthy=False)
    assert ids(cluster.candidates()) == ["a", "c"]
    assert picks(cluster, 4) == ["a", "c", "a", "c"]
    assert len(cluster.endpoints) == 3
    cluster.set_health(b, healthy=True)
    assert ids(cluster.candidates()) == ["a", "b", "c"]


def test_a_health_check_never_takes_the_last_endpoint_away() -> None:
    cluster = three()
    with capture_logs() as logs:
        for endpoint in cluster.endpoints:
            cluster.set_health(endpoint, healthy=False)
    assert ids(cluster.candidates()) == ["a", "b", "c"]
    assert cluster.panics == 1
    assert [entry["event"] for entry in logs] == ["no endpoint is healthy: all are used"]


def test_panic_ends_with_the_first_good_verdict_and_is_told_once_each_way() -> None:
    cluster = make_cluster(endpoint_config("a"))
    a = cluster.endpoints[0]
    with capture_logs() as logs:
        for healthy in (False, False, True, True, False):
            cluster.set_health(a, healthy=healthy)
    assert cluster.panics == 2
    assert [entry["log_level"] for entry in logs] == ["warning", "info", "warning"]


def test_panic_is_a_matter_of_each_model() -> None:
    cluster = make_cluster(endpoint_config("a", port=1, models=["x"]), endpoint_config("b", port=2, models=["y"]))
    cluster.set_health(cluster.endpoints[0], healthy=False)
    assert ids(cluster.candidates("x")) == ["a"]
    assert ids(cluster.candidates()) == ["b"]


def test_a_verdict_about_an_endpoint_that_has_left_is_ignored() -> None:
    cluster = three()
    gone = cluster.endpoints[0]
    cluster.publish([(1, "10.0.0.1", 2)])
    cluster.set_health(gone, healthy=False)
    assert ids(cluster.candidates()) == ["b"]


def test_a_verdict_that_another_cluster_has_put_on_a_shared_endpoint_is_still_news() -> None:
    cluster = three()
    a = cluster.endpoints[0]
    a.healthy = False  # the predecessor's checker, after this cluster was built
    cluster.set_health(a, healthy=False)
    assert ids(cluster.candidates()) == ["b", "c"]
    a.healthy = True
    cluster.set_health(a, healthy=True)
    assert ids(cluster.candidates()) == ["a", "b", "c"]


def test_the_same_verdict_again_changes_nothing() -> None:
    cluster = three()
    before = cluster.candidates()
    cluster.set_health(cluster.endpoints[0], healthy=True)
    assert cluster.candidates() is before


# --- changes ---------------------------------------------------------------------------------------------------------


def test_an_endpoint_that_stays_is_the_same_object_with_its_record() -> None:
    cluster = make_cluster(
        *(endpoint_config(id_, port=port) for port, id_ in enumerate("abc", 1)), health_checks=[HealthCheck()]
    )
    a = cluster.endpoints[0]
    a.in_flight = 3
    cluster.set_health(a, healthy=False)
    cluster.publish([(0, "10.0.0.1", 1), (2, "10.0.0.1", 3)])
    assert cluster.endpoints[0] is a
    assert ids(cluster.candidates()) == ["c"]


def test_an_endpoint_that_leaves_is_marked_so_that_its_connections_are_closed() -> None:
    cluster = three()
    a, b, c = cluster.endpoints
    cluster.publish([(1, "10.0.0.1", 2)])
    assert [a.removed, b.removed, c.removed] == [True, False, True]


def test_an_endpoint_that_comes_back_is_a_new_object() -> None:
    cluster = make_cluster(endpoint_config("a"))
    old = cluster.endpoints[0]
    cluster.publish([])
    cluster.publish([(0, "10.0.0.1", 80)])
    assert cluster.endpoints[0] is not old
    assert not cluster.endpoints[0].removed


def test_endpoints_stand_in_config_order_however_they_are_published() -> None:
    cluster = three()
    cluster.publish([(2, "10.0.0.1", 3), (0, "10.0.0.1", 1)])
    assert ids(cluster.endpoints) == ["a", "c"]


def test_an_address_that_is_published_twice_is_one_endpoint() -> None:
    cluster = make_cluster(endpoint_config("a"))
    cluster.publish([(0, "10.0.0.1", 80), (0, "10.0.0.1", 80)])
    assert len(cluster.endpoints) == 1


def test_who_holds_a_list_keeps_a_consistent_picture() -> None:
    cluster = three()
    held = cluster.candidates()
    cluster.publish([])
    assert ids(held) == ["a", "b", "c"]


def test_a_change_does_not_send_the_turn_back_to_the_first() -> None:
    cluster = three()
    assert picks(cluster, 1) == ["a"]
    cluster.set_health(cluster.endpoints[2], healthy=False)
    assert picks(cluster, 1) == ["b"]


def test_a_balancer_hears_only_of_changes_to_its_own_endpoints() -> None:
    updates: list[list[str]] = []

    class Heard(RoundRobin):
        def update(self, endpoints: Iterable[Endpoint]) -> None:
            super().update(tuple(endpoints))
            updates.append(ids(endpoints))

    config = ClusterConfig(name="main")
    context = cluster_context()
    cluster = Cluster(config, (), lambda: Heard(config, context))
    source = make_cluster(endpoint_config("a", port=1, models=["x"]), endpoint_config("b", port=2, models=["y"]))
    cluster.replace(source.endpoints)
    assert updates == [["a", "b"], ["a"], ["b"]]
    updates.clear()
    cluster.set_health(cluster.endpoints[0], healthy=False)
    assert updates == [["b"]]  # the view of x is in panic, its list is the same


def test_known_endpoints_of_a_predecessor_are_taken_over() -> None:
    before, after = three(), three()
    after.publish([(0, "10.0.0.1", 1)], known=before.endpoints)
    assert after.endpoints[0] is not before.endpoints[0]  # it had one of its own already
    fresh = make_cluster()
    template = before.endpoints[0].settings
    fresh.replace([endpoint_at(template, "10.0.0.1", 1)], known=before.endpoints)
    assert fresh.endpoints[0] is before.endpoints[0]


@given(st.lists(st.one_of(st.sets(st.integers(0, 3)), st.tuples(st.integers(0, 3), st.booleans())), max_size=12))
@settings(max_examples=60, deadline=None)
def test_whatever_happens_a_model_with_an_endpoint_gets_one_that_serves_it(
    events: list[set[int] | tuple[int, bool]],
) -> None:
    """Invariant over any sequence of publications (sets) and verdicts (pairs)."""
    declared: tuple[list[str], ...] = (["x"], ["x", "y"], [], ["y"])
    cluster = make_cluster(*(endpoint_config(str(i), port=i + 1, models=m) for i, m in enumerate(declared)))
    for event in events:
        if isinstance(event, set):
            cluster.publish([(position, "10.0.0.1", position + 1) for position in event])
        elif event[0] < len(cluster.endpoints):
            cluster.set_health(cluster.endpoints[event[0]], healthy=event[1])
        for model in ("", "x", "y", "z"):
            serving = [endpoint for endpoint in cluster.endpoints if endpoint.serves(model)]
            expected = [endpoint for endpoint in serving if endpoint.healthy] or serving
            assert list(cluster.candidates(model)) == expected
            picked = cluster.pick(EXCHANGE, model)
            assert picked in expected if expected else picked is None


def test_repr_counts() -> None:
    cluster = three()
    cluster.set_health(cluster.endpoints[0], healthy=False)
    assert repr(cluster) == "<Cluster main endpoints=3 unhealthy=1>"
