"""Figures are fetched again and again, and a failure leaves what was there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pixiu_py.errors import StartError
from pixiu_py.filters.llm.router.model import MetricsSource
from pixiu_py.filters.llm.router.source import Source
from tests.fakes.actions import respond
from tests.fakes.bodies import error
from tests.fakes.exchange import make_context
from tests.fakes.upstream import Upstream
from tests.fakes.walk import Clock


class Taken:
    """Who takes documents: those that begin with ``good``."""

    def __init__(self, **config: Any) -> None:
        self.bodies: list[bytes] = []
        self.clock = Clock()
        self.context = make_context(self.clock)
        self.source = Source(MetricsSource(type="cost", provider="models.dev", **config), self.context, self._take)

    def _take(self, body: bytes) -> None:
        if not body.startswith(b"good"):
            raise ValueError("no good")
        self.bodies.append(body)

    def shown(self) -> str:
        """The metrics."""
        return self.context.metrics.render().decode()


async def test_failed_refresh_keeps_the_last_good_figures() -> None:
    """Whatever goes wrong: a status, a document that cannot be read, one too large. How old they are is told."""
    script = [respond(200, body=b"good 1"), error(503), respond(200, body=b"bad"), respond(200, body=b"good" * 99)]
    async with Upstream([*script, respond(200, body=b"good 2")]) as upstream:
        taken = Taken(url=f"http://127.0.0.1:{upstream.port}/api.json", max_bytes=100, refresh_interval=0.0)
        await taken.source.start()
        taken.clock.now += 7.0
        assert [await taken.source.fetch() for _ in range(3)] == [False, False, False]
        assert taken.bodies == [b"good 1"]
        assert 'pixiu_router_figures_age_seconds{provider="models.dev"} 7' in taken.shown()
        assert await taken.source.fetch()
        assert taken.bodies == [b"good 1", b"good 2"]
        await taken.source.close()
    assert 'pixiu_router_fetches_total{provider="models.dev",outcome="failure"} 3' in taken.shown()
    assert upstream.requests[0].target == "/api.json"


async def test_refresh_goes_on_in_the_background() -> None:
    """Also when nothing could be had at the start, which does not keep the gateway from starting."""
    async with Upstream(lambda _: answers.pop(0) if len(answers) > 1 else answers[0]) as upstream:
        answers = [error(500), error(500), respond(200, body=b"good")]
        taken = Taken(url=f"http://127.0.0.1:{upstream.port}/", refresh_interval=0.001)
        await taken.source.start()
        await upstream.until(lambda upstream: len(upstream.requests) >= 4)
        await taken.source.close()
        assert taken.bodies


async def test_prometheus_is_asked_its_query() -> None:
    """With its key, and the query in one piece."""
    async with Upstream(respond(200, body=b"good")) as upstream:
        config = MetricsSource(
            type="latency",
            provider="prometheus",
            url=f"http://127.0.0.1:{upstream.port}/prom/",
            query='avg by (model_name) (x{a="b c"})',
            refresh_interval=0.0,
        )
        taken = Taken(url="http://unused.example")
        source = Source(config, taken.context, taken._take)
        await source.start()
        await source.close()
    assert upstream.request.target == (
        "/prom/api/v1/query?query=avg%20by%20%28model_name%29%20%28x%7Ba%3D%22b%20c%22%7D%29"
    )


async def test_file(tmp_path: Path) -> None:
    """Read like a URL; but one that cannot be used at the start is a mistake in the configuration."""
    catalogue = tmp_path / "prices.json"
    catalogue.write_bytes(b"good 1")
    taken = Taken(file=str(catalogue), max_bytes=10)
    await taken.source.start()
    catalogue.write_bytes(b"good" * 9)
    assert not await taken.source.fetch()
    assert taken.bodies == [b"good 1"]
    await taken.source.close()
    for name in ("gone.json", "prices.json"):
        with pytest.raises(StartError, match=name):
            await Taken(file=str(tmp_path / name), max_bytes=10).source.start()
