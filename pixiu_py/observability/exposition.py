"""What a gateway knows of itself, read when somebody asks: nothing here costs a request anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from pixiu_py.clusters.cooldown import State
from pixiu_py.observability.metrics import Labels, Reader

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.filters.base import Context
    from pixiu_py.listeners.base import Listener

Sample = tuple[Labels, float]
ENDPOINT = ("cluster", "endpoint")


def expose(context: Context, listeners: Mapping[str, Listener]) -> None:
    """Add what the gateway knows to its metrics. ``listeners`` by name; those that come later are seen, too."""
    reading = context.metrics.reading
    clock = context.clock
    values: tuple[tuple[str, str, Callable[[Endpoint], float]], ...] = (
        ("in_flight", "Exchanges that the endpoint serves now.", lambda endpoint: endpoint.in_flight),
        ("healthy", "1 if the active health checks find it well.", lambda endpoint: endpoint.healthy),
        ("available", "1 if it may be asked now: no cooldown, no rest.", lambda e: e.cooldown.available(clock())),
        ("failures", "Failures in a row.", lambda endpoint: endpoint.cooldown.failures),
    )
    for name, help_, value in values:
        reading(f"pixiu_py_endpoint_{name}", help_, ENDPOINT).add(_of_endpoints(context, value))
    reading(
        "pixiu_py_endpoint_wait_seconds",
        "Time until an endpoint that is left alone may be asked again, and why it is.",
        (*ENDPOINT, "state", "reason"),
    ).add(lambda: _waits(context))
    reading(
        "pixiu_py_cluster_panics_total",
        "How often no endpoint was healthy, so that all were used.",
        ("cluster",),
        "counter",
    ).add(lambda: [((cluster.name,), cluster.panics) for cluster in context.clusters.clusters])
    reading("pixiu_py_connections", "Connections of clients.", ("listener", "state")).add(
        lambda: _connections(listeners)
    )
    access_log = context.access_log
    if access_log is not None:
        reading("pixiu_py_access_log_dropped_total", "Lines that were not written.", (), "counter").add(
            lambda: [((), access_log.dropped)]
        )


def _of_endpoints(context: Context, value: Callable[[Endpoint], float]) -> Reader:
    return lambda: [((endpoint.cluster, endpoint.id), value(endpoint)) for endpoint in _endpoints(context)]


def _endpoints(context: Context) -> Iterator[Endpoint]:
    return (endpoint for cluster in context.clusters.clusters for endpoint in cluster.endpoints)


def _waits(context: Context) -> Iterator[Sample]:
    now = context.clock()
    for endpoint in _endpoints(context):
        state = endpoint.cooldown.state(now)
        if state is not State.READY:
            labels = (endpoint.cluster, endpoint.id, state.value, endpoint.cooldown.reason)
            yield labels, max(endpoint.cooldown.ends() - now, 0.0)


def _connections(listeners: Mapping[str, Listener]) -> Iterator[Sample]:
    for name, listener in listeners.items():
        idle, busy = listener.connections
        yield (name, "idle"), idle
        yield (name, "busy"), busy
