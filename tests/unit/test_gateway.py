"""Rules of a gateway's life: started whole or not at all, drained before it is stopped, and nothing left of it."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pixiu_py import gateway as module
from pixiu_py.config.load import load_text
from pixiu_py.config.model import Config, Listener
from pixiu_py.errors import StartError
from pixiu_py.filters.base import HttpFilter
from pixiu_py.gateway import Gateway
from pixiu_py.http.exchange import Exchange, Response
from pixiu_py.plugins import build_registry
from pixiu_py.registry import Family, Registry, plugin
from pixiu_py.settings import Settings
from tests.fakes.client import PATIENCE, Client
from tests.fakes.conf import conf, http_filter
from tests.fakes.gateway import Leaks
from tests.fakes.peer import start


class Watched(HttpFilter):
    """Answers; writes down its life; may be told to fail or to wait."""

    terminal = True
    calls: list[str] = []
    fails = False
    go: asyncio.Event | None = None

    async def start(self) -> None:
        self.calls.append("start")
        if self.fails:
            raise StartError("cannot")

    async def close(self) -> None:
        self.calls.append("close")

    async def decode(self, exchange: Exchange) -> Response:
        if self.go is not None:
            self.calls.append("decode")
            await self.go.wait()
        return Response(200, None, b"fine")


@plugin(Family.HTTP_FILTER, "first")
class First(Watched):
    calls: list[str] = []


@plugin(Family.HTTP_FILTER, "second")
class Second(Watched):
    calls: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    yield
    for cls in (First, Second):
        cls.calls.clear()
        cls.fails, cls.go = False, None


def make_registry() -> Registry:
    registry = build_registry(None)
    for cls in (First, Second):
        registry.add(cls)
    return registry


def config_of(tmp_path: Path, *kinds: str, port: int = 0, drain: str = "5s") -> Config:
    """One listener for each kind of filter, all of the same name, as Pixiu has it."""
    blocks = [
        {
            "name": "net/http",
            "protocol_type": "HTTP",
            "address": {"socket_address": {"address": "127.0.0.1", "port": port}},
            "filter_chains": {
                "filters": [
                    {
                        "name": "dgp.filter.httpconnectionmanager",
                        "config": {
                            "route_config": {"routes": [{"match": {"prefix": "/"}, "route": {"cluster": "main"}}]},
                            "http_filters": [http_filter(kind)],
                        },
                    }
                ]
            },
        }
        for kind in kinds or ("first",)
    ]
    text = conf(
        filters=[],
        static={"listeners": blocks, "shutdown_config": {"timeout": drain}},
        top={"access_log": {"path": str(tmp_path / "log"), "flush_interval": "1m"}},
    )
    return load_text(text, make_registry()).config


def gateway_of(config: Config) -> Gateway:
    return Gateway(config, make_registry())


async def status(port: int) -> int:
    async with Client(port) as client:
        return (await client.request("GET", "/")).status


async def test_gateway_serves_until_it_is_stopped(tmp_path: Path) -> None:
    """Then its port is free, its filters are closed and its log is written; a second stop does nothing."""
    leaks = Leaks()
    gateway = gateway_of(config_of(tmp_path))
    await gateway.start()
    ((host, port),) = gateway.addresses.values()
    assert (host, await status(port)) == ("127.0.0.1", 200)
    await gateway.stop()
    await gateway.stop()
    with socket.create_server(("127.0.0.1", port)):
        assert First.calls == ["start", "close"]
    assert (tmp_path / "log").read_text().count("\n") == 1
    await leaks.check()


async def test_listeners_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """Pixiu gives all of them the same."""
    gateway = gateway_of(config_of(tmp_path, "first", "second"))
    await gateway.start()
    assert list(gateway.addresses) == ["net/http", "net/http-2"]
    assert [await status(port) for _, port in gateway.addresses.values()] == [200, 200]
    await gateway.stop()


async def test_two_gateways_in_one_process(tmp_path: Path) -> None:
    """There is no global state: each has its own filters and its own end."""
    one, two = gateway_of(config_of(tmp_path)), gateway_of(config_of(tmp_path))
    await one.start()
    await two.start()
    ports = [port for gateway in (one, two) for _, port in gateway.addresses.values()]
    await one.stop()
    assert await status(ports[1]) == 200
    await two.stop()
    assert First.calls == ["start", "start", "close", "close"]


async def test_filter_that_does_not_start_stops_the_gateway(tmp_path: Path) -> None:
    """What has been started is closed again, the one that failed included; nothing listens."""
    leaks = Leaks()
    Second.fails = True
    gateway = gateway_of(config_of(tmp_path, "first", "second"))
    with pytest.raises(StartError):
        await gateway.start()
    assert (First.calls, Second.calls) == (["start", "close"], ["start", "close"])
    await leaks.check()


async def test_port_in_use_stops_the_gateway(tmp_path: Path) -> None:
    """With the address and the reason; and nothing is left."""
    leaks = Leaks()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=rf"127\.0\.0\.1:{port}: Address already in use"):
            await gateway_of(config_of(tmp_path, port=port)).start()
    assert First.calls == ["start", "close"]
    await leaks.check()


async def test_draining_waits_for_what_is_under_way(tmp_path: Path) -> None:
    """Nothing more is accepted meanwhile."""
    First.go = asyncio.Event()
    gateway = gateway_of(config_of(tmp_path))
    await gateway.start()
    ((_, port),) = gateway.addresses.values()
    asking = start(status(port))
    async with asyncio.timeout(PATIENCE):
        while "decode" not in First.calls:
            await asyncio.sleep(0.001)
    draining = start(gateway.drain())
    await asyncio.sleep(0)
    with pytest.raises(ConnectionRefusedError):
        await status(port)
    assert not draining.done()
    First.go.set()
    assert await asyncio.wait_for(asking, PATIENCE) == 200
    await asyncio.wait_for(draining, PATIENCE)
    await gateway.stop()


async def test_draining_has_an_end(tmp_path: Path) -> None:
    """After ``shutdown_config.timeout``; what is still under way is then cut off by the stop."""
    First.go = asyncio.Event()
    gateway = gateway_of(config_of(tmp_path, drain="20ms"))
    await gateway.start()
    ((_, port),) = gateway.addresses.values()
    asking = start(status(port))
    async with asyncio.timeout(PATIENCE):
        while "decode" not in First.calls:
            await asyncio.sleep(0.001)
    await asyncio.wait_for(gateway.drain(), PATIENCE)
    await asyncio.wait_for(gateway.stop(), PATIENCE)
    with pytest.raises(EOFError):
        await asking


async def test_listener_that_is_not_known_stops_the_gateway(tmp_path: Path) -> None:
    """The config check should have found it; it must not be passed over."""
    config = config_of(tmp_path)
    listener = config.static_resources.listeners[0]
    odd = Listener("x", "GOPHER", listener.address, listener.filter_chains)
    with pytest.raises(StartError, match="GOPHER"):
        await gateway_of(config)._listener(odd, Any)  # type: ignore[arg-type]


def test_port_in_use_stops_the_workers_before_they_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They share their ports, so that each of them could bind one that is another program's."""
    monkeypatch.setattr(module, "configure", lambda *_: None)
    monkeypatch.setattr("pixiu_py.workers.supervise", lambda *_: pytest.fail("started"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = config_of(tmp_path, port=taken.getsockname()[1])
        with pytest.raises(StartError, match="Address already in use"):
            module.run(config, make_registry(), Settings(tmp_path, workers=2))


def test_several_workers_are_supervised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their exit code is the gateway's; the file's log level holds unless the command line has another."""
    told: list[Any] = []
    monkeypatch.setattr(module, "configure", lambda *levels: told.append(levels))
    monkeypatch.setattr("pixiu_py.workers.supervise", lambda count, serve: count + 40)
    config = config_of(tmp_path)
    assert module.run(config, make_registry(), Settings(tmp_path, workers=2)) == 42
    assert module.run(config, make_registry(), Settings(tmp_path, log_level="error", workers=2)) == 42
    assert told == [("info", ""), ("error", "")]


def test_garbage_collector_is_calmed() -> None:
    """What was built at the start is left alone; what comes later is still collected, if rarely."""
    before = gc.get_threshold()
    try:
        module._calm_garbage_collector()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold()[0] > before[0]
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
