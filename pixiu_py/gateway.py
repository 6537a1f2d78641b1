"""From a configuration to a running gateway, and to its end.

``Gateway`` is one event loop's worth: build, start, drain, stop. ``run`` is the process around it: loop, signals, workers.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import socket
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import structlog
import uvloop

from pixiu_py.clusters.manager import ClusterManager
from pixiu_py.errors import StartError
from pixiu_py.filters.base import Context
from pixiu_py.listeners.base import Listener
from pixiu_py.listeners.metrics import MetricsListener
from pixiu_py.observability.access_log import AccessLog
from pixiu_py.observability.exposition import expose
from pixiu_py.observability.log import configure
from pixiu_py.observability.traffic import Traffic
from pixiu_py.peers import Peers
from pixiu_py.registry import Family, Registry
from pixiu_py.signals import stop_signals
from pixiu_py.tasks import Tasks

if TYPE_CHECKING:
    from pixiu_py.config.model import AdapterRef, Config
    from pixiu_py.config.model import Listener as ListenerConfig
    from pixiu_py.settings import Settings

log = structlog.get_logger("pixiu_py.gateway")


class Gateway:
    """A running gateway. Two of them can live in one process."""

    def __init__(
        self, config: Config, registry: Registry, *, reuse_port: bool = False, line: socket.socket | None = None
    ) -> None:
        self.config = config
        self._registry = registry
        self._reuse_port = reuse_port
        #: To the other workers of this machine, see ``Peers``.
        self._line = line
        self._listeners: dict[str, Listener] = {}
        self._resources = AsyncExitStack()

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """Listener name → bound (host, port)."""
        return {name: listener.address for name, listener in self._listeners.items()}

    async def start(self) -> None:
        """Build and start everything; what has been started is closed again when something fails."""
        try:
            await self._start()
        except BaseException:
            await self._resources.aclose()
            raise

    async def _start(self) -> None:
        resources = self.config.static_resources
        tasks = Tasks("gateway")
        self._resources.push_async_callback(tasks.close)
        clusters = ClusterManager()
        context = Context(
            clusters=clusters,
            registry=self._registry,
            tasks=tasks,
            clock=time.monotonic,  # the loop's own clock, at full resolution: uvloop's ticks in milliseconds
            random=random.Random(),
            access_log=await self._access_log(),
            peers=Peers(self._line, time.monotonic) if self._line is not None else None,
        )
        clusters.build(resources.clusters, context)
        self._resources.push_async_callback(clusters.close)
        if context.peers is not None:
            self._resources.push_async_callback(context.peers.close)
            context.peers.start()
        await clusters.start()
        for reference in resources.adapters:
            if reference.enabled:
                await self._adapter(reference, context)
        listeners = [await self._listener(config, context) for config in resources.listeners]
        if self.config.metric.enable:
            listeners.append(self._metrics(context))
        for listener in listeners:
            self._resources.push_async_callback(listener.close)
            await listener.start(reuse_port=self._reuse_port)
        if context.peers is not None:
            context.peers.started()

    async def _access_log(self) -> AccessLog | None:
        if not self.config.access_log.enable:
            return None
        access_log = AccessLog(self.config.access_log)
        access_log.start()
        self._resources.push_async_callback(access_log.close)
        return access_log

    async def _adapter(self, reference: AdapterRef, context: Context) -> None:
        found = self._registry.find(Family.ADAPTER, reference.name)
        if found is None:
            raise StartError(f"adapter {reference.name} is not known")
        adapter = found.cls(reference.config, context)
        self._resources.push_async_callback(adapter.close)
        await adapter.start()

    async def _listener(self, config: ListenerConfig, context: Context) -> Listener:
        """Build a listener and start its filters; it does not accept yet."""
        reference = config.filter_chains.filters[0]
        name = self._unique_name(config)
        filter_class = self._registry.find(Family.NETWORK_FILTER, reference.name)
        listener_class = self._registry.find(Family.LISTENER, config.protocol_type.upper())
        if filter_class is None or listener_class is None:
            raise StartError(f"{name}: {reference.name} over {config.protocol_type} is not known")
        network_filter = filter_class.cls(reference.config, config.config, context, name)
        self._resources.push_async_callback(network_filter.close)
        await network_filter.start()
        listener: Listener = listener_class.cls(config, network_filter, context)
        self._listeners[name] = listener
        return listener

    def _metrics(self, context: Context) -> Listener:
        """Count what passes, and build the port where that can be read."""
        context.traffic = Traffic(context.metrics)
        expose(context, self._listeners)
        listener = MetricsListener(self.config.metric, context)
        self._listeners[self._unique_name(listener.config)] = listener
        return listener

    def _unique_name(self, config: ListenerConfig) -> str:
        """Pixiu gives every HTTP listener the same name; ours tell them apart by their ports."""
        address = config.address.socket_address
        name = config.name or f"{address.address}-{address.port}-{config.protocol_type}"
        return name if name not in self._listeners else f"{name}-{len(self._listeners) + 1}"

    async def drain(self) -> None:
        """Accept nothing more and wait, up to ``shutdown_config.timeout``, for what is under way."""
        listeners = list(self._listeners.values())
        for listener in listeners:
            listener.stop_accepting()
        timeout = self.config.static_resources.shutdown_config.timeout
        await asyncio.gather(*(listener.drain(timeout) for listener in listeners))

    async def stop(self) -> None:
        """End at once: listeners, filters, clusters, tasks, in the reverse of their start."""
        await self._resources.aclose()


def run(config: Config, registry: Registry, settings: Settings) -> int:
    """Run until one of ``stop_signals``. Returns the exit code; raises ``StartError``."""
    configure(settings.log_level or config.log.level or "info", settings.log_format or config.log.format)
    if settings.workers != 1:
        from pixiu_py.workers import supervise

        _check_ports(config)
        return supervise(settings.workers, lambda line: _serve_until_signal(config, registry, line, reuse_port=True))
    return _serve_until_signal(config, registry)


def _check_ports(config: Config) -> None:
    """Workers share their ports by SO_REUSEPORT, and so would another gateway's: make sure that nobody else has them."""
    for listener in config.static_resources.listeners:
        wanted = listener.address.socket_address
        family = socket.AF_INET6 if ":" in wanted.address else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((wanted.address, wanted.port))
            except OSError as error:
                reason = os.strerror(error.errno) if error.errno else str(error)
                raise StartError(
                    f"{listener.name}: cannot listen on {wanted.address}:{wanted.port}: {reason}"
                ) from error


def _serve_until_signal(
    config: Config, registry: Registry, line: socket.socket | None = None, *, reuse_port: bool = False
) -> int:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, registry, line, reuse_port))
    return 0


async def _serve(config: Config, registry: Registry, line: socket.socket | None, reuse_port: bool) -> None:
    loop = asyncio.get_running_loop()
    starting = asyncio.timeout(None)
    stop = asyncio.Event()
    force = asyncio.Event()

    has_started = False

    def on_signal(number: int) -> None:
        if stop.is_set():
            if number != signal.SIGHUP:  # which a shell and its terminal both send
                force.set()  # a second signal does not wait for anybody
            return
        stop.set()
        if not has_started:
            starting.reschedule(loop.time())

    # A terminal sends its signals to all processes at once: a worker would take that and its supervisor's for two.
    for number in (signal.SIGTERM,) if reuse_port else stop_signals():
        loop.add_signal_handler(number, on_signal, number)
    gateway = Gateway(config, registry, reuse_port=reuse_port, line=line)
    try:
        async with starting:
            await gateway.start()
    except TimeoutError:
        if not stop.is_set():
            raise
        log.info("stopped before it had started")
        return
    has_started = True
    _calm_garbage_collector()
    for name, (host, port) in gateway.addresses.items():
        log.info("listening", listener=name, address=f"{host}:{port}")
    await stop.wait()
    log.info("draining", timeout=config.static_resources.shutdown_config.timeout)
    await _first_of(gateway.drain(), force.wait())
    await gateway.stop()
    log.info("stopped")


def _calm_garbage_collector() -> None:
    """What has been built lives as long as the process, and a request leaves no cycles: look rarely, and not at everything.

    Some 40 objects belong to a request under way. With two thousand of them a lower threshold would be met all the time, only
    to find that all are in use.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)


async def _first_of(*waits: object) -> None:
    tasks = Tasks("shutdown")
    running = [tasks.spawn(wait, "wait") for wait in waits]  # type: ignore[arg-type]
    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    await tasks.close()
