"""What every registered listener, network filter, cluster type, load balancer and retry policy promises."""

from __future__ import annotations

import inspect
import math
import random
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pixiu_py.clusters.base import Address, Discovery, LoadBalancer
from pixiu_py.config.model import Address as ListenAddress
from pixiu_py.config.model import Cluster, Endpoint, HttpServerConfig, SocketAddress
from pixiu_py.config.model import Listener as ListenerConfig
from pixiu_py.errors import StartError
from pixiu_py.listeners.base import Listener
from pixiu_py.registry import Entry, Family
from pixiu_py.upstream.retry import RetryPolicy
from tests.fakes.client import Client
from tests.fakes.clusters import cluster_context, make_endpoints
from tests.fakes.exchange import make_exchange
from tests.fakes.kinds import decoded, document_with, name, of, problems_of

every_listener = pytest.mark.parametrize("entry", of(Family.LISTENER), ids=name)
every_network_filter = pytest.mark.parametrize("entry", of(Family.NETWORK_FILTER), ids=name)
every_cluster_type = pytest.mark.parametrize("entry", of(Family.CLUSTER), ids=name)
every_balancer = pytest.mark.parametrize("entry", of(Family.LOAD_BALANCER), ids=name)
every_policy = pytest.mark.parametrize("entry", of(Family.RETRY_POLICY), ids=name)


# --- listeners -------------------------------------------------------------------------------------------------------


class Nothing:
    """A network filter that handles nothing."""

    def __init__(self) -> None:
        self.draining = False

    async def start(self) -> None:
        """Open nothing."""

    async def close(self) -> None:
        """Close nothing."""

    async def handle(self, raw: object) -> bool:
        """Hang up."""
        return False


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with tls.crt and tls.key."""
    folder = tmp_path_factory.mktemp("certificates")
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -days 2"
    files = ["-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    return str(folder)


def listener(entry: Entry, certificates: str, port: int = 0) -> Listener:
    """A listener on loopback, not started."""
    address = SocketAddress(address="127.0.0.1", port=port, certs_dir=certificates)
    config = ListenerConfig(name="l", protocol_type=entry.kind, address=ListenAddress(socket_address=address))
    made: Listener = entry.cls(config, Nothing(), cluster_context())
    return made


@every_listener
async def test_a_listener_accepts_until_it_is_told_to_stop(entry: Entry, certificates: str) -> None:
    """It knows its real port; afterwards its network filter drains, and its port is free."""
    one = listener(entry, certificates)
    await one.start()
    host, port = one.address
    assert (host, port > 0) == ("127.0.0.1", True)
    async with Client(port):
        pass
    one.stop_accepting()
    assert one.network_filter.draining
    await one.drain(5.0)
    with pytest.raises(ConnectionRefusedError):
        async with Client(port):
            pass
    await one.close()
    assert one.connections == (0, 0)


@every_listener
async def test_a_listener_may_be_closed_at_any_time(entry: Entry, certificates: str) -> None:
    """Before it has started, and twice."""
    one = listener(entry, certificates)
    await one.close()
    await one.start()
    await one.close()
    await one.close()


@every_listener
async def test_a_listener_whose_port_is_taken_says_so(entry: Entry, certificates: str) -> None:
    """It does not live on without a port."""
    one = listener(entry, certificates)
    await one.start()
    other = listener(entry, certificates, one.address[1])
    with pytest.raises(StartError, match=str(one.address[1])):
        await other.start()
    await other.close()
    await one.close()


# --- network filters -------------------------------------------------------------------------------------------------


@every_network_filter
async def test_a_network_filter_starts_and_closes(entry: Entry) -> None:
    """Twice if need be. It handles requests in a coroutine, and does not drain until it is told to."""
    made: Any = entry.cls(decoded(entry, {}), HttpServerConfig(), cluster_context(), "l")
    assert made.draining is False
    assert inspect.iscoroutinefunction(made.handle)
    await made.close()
    await made.start()
    await made.close()
    await made.close()


# --- cluster types ---------------------------------------------------------------------------------------------------


def discovery(entry: Entry, published: list[Sequence[Address]], *addresses: str) -> Discovery:
    """A discovery for endpoints at these addresses, not started."""
    endpoints = [Endpoint(socket_address=SocketAddress(address=host, port=80)) for host in addresses]
    config = Cluster(name="c", type=entry.kind, endpoints=endpoints)
    made: Discovery = entry.cls(config, cluster_context(), published.append)
    return made


@every_cluster_type
async def test_a_cluster_type_publishes_before_its_start_returns(entry: Entry) -> None:
    """What is known by then, in the order of the configuration; nothing is asked for where there is nothing to ask."""
    published: list[Sequence[Address]] = []
    finder = discovery(entry, published, "127.0.0.2", "::1")
    await finder.start()
    assert list(published[-1]) == [(0, "127.0.0.2", 80), (1, "::1", 80)]
    count = len(published)
    await finder.close()
    await finder.close()
    assert len(published) == count


@every_cluster_type
async def test_a_cluster_type_copes_without_endpoints_and_without_start(entry: Entry) -> None:
    """An adapter may bring them later."""
    published: list[Sequence[Address]] = []
    finder = discovery(entry, published)
    await finder.start()
    assert list(published[-1]) == []
    await finder.close()
    await discovery(entry, published, "127.0.0.2").close()


# --- load balancers --------------------------------------------------------------------------------------------------


def balancer(entry: Entry, count: int) -> LoadBalancer:
    """A balancer over so many endpoints."""
    made: LoadBalancer = entry.cls(Cluster(name="c", lb_policy=entry.kind), cluster_context())
    made.update(make_endpoints(count))
    return made


@every_balancer
def test_a_balancer_picks_one_of_the_current_endpoints(entry: Entry) -> None:
    """None without any; the same after any change. More of this: test_balancers.py."""
    chooser = balancer(entry, 0)
    assert chooser.pick(make_exchange()) is None
    for count in (1, 5, 2, 0, 3):
        current = make_endpoints(count)
        chooser.update(current)
        picked = {chooser.pick(make_exchange(target=f"/{number}")) for number in range(50)}
        assert picked <= (set(current) if count else {None})


@every_balancer
def test_two_balancers_share_nothing(entry: Entry) -> None:
    """One per view of a cluster: what one is told the other does not hear."""
    one, two = balancer(entry, 3), balancer(entry, 3)
    one.update([])
    assert one.pick(make_exchange()) is None
    assert two.pick(make_exchange()) in two.endpoints


# --- retry policies --------------------------------------------------------------------------------------------------


def policy(entry: Entry, **config: Any) -> RetryPolicy:
    """A policy, as its configuration makes it."""
    made: RetryPolicy = entry.cls(decoded(entry, config))
    return made


@every_policy
def test_a_policy_tries_at_least_once_and_waits_a_finite_time(entry: Entry) -> None:
    """However often; chance is an argument, so equal chances give equal pauses."""
    made = policy(entry)
    assert made.tries >= 1
    assert made.max_retry_after >= 0
    for retry in (1, 2, 3, 10, 1000, 10**9):
        pause = made.delay(retry, random.Random(retry))
        assert math.isfinite(pause)
        assert pause >= 0
        assert made.delay(retry, random.Random(retry)) == pause
        assert pause <= getattr(made.config, "maxInterval", 0.0)


@every_policy
def test_a_policy_never_repeats_what_the_client_did_wrong(entry: Entry) -> None:
    """Unless it is told to."""
    assert not policy(entry).retry_on & {400, 401, 403, 404, 405, 409, 413, 415, 422}
    assert all(400 <= status < 600 for status in policy(entry).retry_on)


@every_policy
def test_a_policy_is_found_in_any_case(entry: Entry) -> None:
    """Pixiu's samples spell them in several ways."""
    assert problems_of(document_with(entry, {}, entry.kind.lower())) == []


def test_the_plugins_folder_takes_part() -> None:
    """Else a drop-in would not be held to these promises."""
    places = {entry.kind: Path(entry.place.partition(":")[0]) for entry in of(Family.LOAD_BALANCER)}
    assert places["FirstAvailable"].parent.name == "plugins"
