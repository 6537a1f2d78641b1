"""An adapter in a whole gateway: it brings endpoints before the first request, and is closed at the end."""

from __future__ import annotations

import pytest
import yaml

from pixiu_py.adapters.base import Adapter
from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.config.types import Model
from pixiu_py.errors import StartError
from pixiu_py.registry import Family, plugin
from tests.conftest import StartGateway
from tests.fakes.actions import respond
from tests.fakes.conf import endpoint, http_conf
from tests.fakes.upstream import Upstream

ENDED: list[str] = []


class PortConfig(Model, frozen=True):
    """Where the only endpoint is."""

    port: int = 0


@plugin(Family.ADAPTER, "test.adapter.port")
class PortAdapter(Adapter):
    """Knows one endpoint."""

    Config = PortConfig

    async def start(self) -> None:
        """Replace what the file says. Without a port there is nothing to watch."""
        if not self.config.port:
            raise StartError("no port")
        cluster = self.context.clusters.get("main")
        assert cluster is not None
        found = Endpoint("main", "found", "127.0.0.1", self.config.port)
        found.host_header = found.address
        cluster.replace([found])

    async def close(self) -> None:
        """Remember."""
        ENDED.append("closed")


def conf(port: int, **adapter: object) -> str:
    document = yaml.safe_load(http_conf(endpoint(1)))
    document["static_resources"]["adapters"] = [
        {"id": "a", "name": "test.adapter.port", "config": {"port": port}, **adapter}
    ]
    return yaml.safe_dump(document)


@pytest.fixture(autouse=True)
def _nothing_ended() -> None:
    ENDED.clear()


async def test_adapter_brings_endpoints(gateway: StartGateway) -> None:
    async with Upstream([respond(200, body=b"found")]) as upstream:
        running = await gateway(conf(upstream.port), PortAdapter)
        assert (await running.request("GET", "/")).body == b"found"
        await running.stop()
        assert ENDED == ["closed"]


async def test_adapter_that_is_off_is_not_made(gateway: StartGateway) -> None:
    """As Pixiu writes it; the others are not affected."""
    running = await gateway(conf(1, enabled="false"), PortAdapter)
    await running.stop()
    assert ENDED == []


async def test_adapter_that_cannot_start_is_closed_and_stops_the_start(gateway: StartGateway) -> None:
    with pytest.raises(StartError, match="no port"):
        await gateway(conf(0), PortAdapter)
    assert ENDED == ["closed"]
