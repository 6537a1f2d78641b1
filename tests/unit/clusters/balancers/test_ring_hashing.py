"""RingHashing."""

from __future__ import annotations

from pixiu_py.clusters.balancers.ring_hashing import points_of
from pixiu_py.config.model import Consistent, HashKey
from tests.fakes.clusters import make_balancer
from tests.fakes.exchange import make_exchange

BY_SESSION = HashKey(header="x-session")


def test_keys_go_where_they_went_in_earlier_versions_and_other_processes() -> None:
    chooser = make_balancer("RingHashing", 5, hash_key=BY_SESSION)
    picked = [chooser.pick(make_exchange(headers={"x-session": f"s{number}"})) for number in range(8)]
    assert [endpoint.id for endpoint in picked if endpoint] == ["e4", "e1", "e4", "e1", "e1", "e1", "e3", "e2"]


def test_points_are_many_different_and_fewer_are_a_part_of_more() -> None:
    points = points_of("e0", 100)
    assert len(set(points)) == 100
    assert points_of("e0", 13) == points[:13]
    assert not set(points) & set(points_of("e1", 100))


def test_the_ring_has_the_configured_points_and_never_more_than_the_limit() -> None:
    def size(**consistent: int) -> int:
        chooser = make_balancer("RingHashing", 4, consistent=Consistent(**consistent))
        chooser.pick(make_exchange())
        return len(chooser._points)  # type: ignore[attr-defined]

    assert size() == 400
    assert size(replica_num=7) == 28
    assert size(replica_num=100, max_vnode_num=40) == 40
    assert size(replica_num=100, max_vnode_num=1) == 4  # each endpoint keeps a point


def test_a_key_behind_the_last_point_belongs_to_the_first() -> None:
    chooser = make_balancer("RingHashing", 3)
    chooser.pick(make_exchange())
    assert chooser.look_up(2**64 - 1) is chooser.look_up(0)  # type: ignore[attr-defined]
