"""Rules of what can be read of a gateway: endpoints with their state, its reason and its end; connections; lost lines."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from pixiu_py.clusters.cooldown import Cooldown
from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.config.model import AccessLog as AccessLogConfig
from pixiu_py.observability.access_log import AccessLog
from pixiu_py.observability.exposition import expose
from tests.fakes.exchange import make_context

NOW = 100.0


def samples(*endpoints: Endpoint, access_log: AccessLog | None = None, **listeners: tuple[int, int]) -> list[str]:
    """The samples of a gateway with these endpoints in one cluster, and listeners with these connections."""
    cluster = SimpleNamespace(name="main", endpoints=endpoints, panics=3)
    context = make_context(lambda: NOW, clusters=SimpleNamespace(clusters=[cluster]))
    context.access_log = access_log
    expose(context, {name: SimpleNamespace(connections=counts) for name, counts in listeners.items()})  # type: ignore[misc]
    return [line for line in context.metrics.render().decode().splitlines() if line[0] != "#"]


def endpoint(name: str, seconds: float = 60.0) -> Endpoint:
    """An endpoint of the cluster."""
    made = Endpoint("main", name, "127.0.0.1", 80)
    made.cooldown = Cooldown(seconds, threshold=1)
    return made


def test_an_endpoint_that_is_well() -> None:
    """It waits for nothing, so there is no line about waiting."""
    well = endpoint("a")
    well.in_flight = 2
    assert samples(well) == [
        'pixiu_py_endpoint_in_flight{cluster="main",endpoint="a"} 2',
        'pixiu_py_endpoint_healthy{cluster="main",endpoint="a"} 1',
        'pixiu_py_endpoint_available{cluster="main",endpoint="a"} 1',
        'pixiu_py_endpoint_failures{cluster="main",endpoint="a"} 0',
        'pixiu_py_cluster_panics_total{cluster="main"} 3',
    ]


def test_a_cooldown_has_its_reason_and_its_end() -> None:
    cooling = endpoint("a")
    cooling.cooldown.failed(NOW - 10, "timeout_connect")
    labels = 'cluster="main",endpoint="a"'
    lines = samples(cooling)
    assert f"pixiu_py_endpoint_available{{{labels}}} 0" in lines
    assert f"pixiu_py_endpoint_failures{{{labels}}} 1" in lines
    assert f'pixiu_py_endpoint_wait_seconds{{{labels},state="cooling",reason="timeout_connect"}} 50' in lines


def test_a_rest_and_a_trial() -> None:
    """A rest has an end; an endpoint on trial may be asked at once."""
    resting, trial = endpoint("a"), endpoint("b", 5.0)
    resting.cooldown.rest(NOW, 7.0)
    trial.cooldown.failed(NOW - 10, "reset")
    lines = samples(resting, trial)
    assert 'pixiu_py_endpoint_wait_seconds{cluster="main",endpoint="a",state="resting",reason=""} 7' in lines
    assert 'pixiu_py_endpoint_wait_seconds{cluster="main",endpoint="b",state="trial",reason="reset"} 0' in lines
    assert 'pixiu_py_endpoint_available{cluster="main",endpoint="b"} 1' in lines


def test_connections_by_listener() -> None:
    lines = samples(web=(3, 1))
    assert 'pixiu_py_connections{listener="web",state="idle"} 3' in lines
    assert 'pixiu_py_connections{listener="web",state="busy"} 1' in lines


def test_lost_lines_of_the_access_log(tmp_path: Path) -> None:
    """Without an access log there is no such line."""
    access_log = AccessLog(AccessLogConfig(path=str(tmp_path / "log")))
    access_log.dropped = 4
    assert "pixiu_py_access_log_dropped_total 4" in samples(access_log=access_log)
    assert not [line for line in samples() if "access_log" in line]
