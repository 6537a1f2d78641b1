"""The example load balancer."""

from pixiu_py.clusters.cooldown import Cooldown
from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.config.model import Cluster
from plugins.first_available import FirstAvailable
from tests.fakes.exchange import make_context, make_exchange


def endpoints(count: int) -> list[Endpoint]:
    made = [Endpoint("llm", f"e{number}", "127.0.0.1", 9000 + number) for number in range(count)]
    for endpoint in made:
        endpoint.cooldown = Cooldown(seconds=10.0, threshold=1)
    return made


def balancer(members: list[Endpoint]) -> FirstAvailable:
    made = FirstAvailable(Cluster(name="llm"), make_context(clock=lambda: 100.0))
    made.update(members)
    return made


def test_the_first_endpoint_does_all_the_work() -> None:
    first, second = endpoints(2)
    chosen = balancer([first, second])
    assert [chosen.pick(make_exchange()) for _ in range(3)] == [first] * 3


def test_the_next_one_steps_in_while_the_first_cools_down() -> None:
    first, second = endpoints(2)
    first.cooldown.failed(now=95.0)
    assert balancer([first, second]).pick(make_exchange()) is second


def test_the_first_comes_back_when_its_cooldown_is_over() -> None:
    first, second = endpoints(2)
    first.cooldown.failed(now=80.0)
    assert balancer([first, second]).pick(make_exchange()) is first


def test_when_all_cool_down_the_first_is_tried() -> None:
    members = endpoints(2)
    for endpoint in members:
        endpoint.cooldown.failed(now=95.0)
    assert balancer(members).pick(make_exchange()) is members[0]


def test_an_empty_set_has_nothing_to_pick() -> None:
    assert balancer([]).pick(make_exchange()) is None
