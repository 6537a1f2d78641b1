"""Calls to engines: one kind of error, whatever happens; always an end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from pixiu_py.filters.ai.kvcache import wire as wire_module
from pixiu_py.filters.ai.kvcache.wire import CallFailed, Options, Wire
from tests.fakes.actions import close, respond, stall
from tests.fakes.upstream import Action, Upstream, refusing_port


@pytest_asyncio.fixture
async def wire() -> AsyncIterator[Wire]:
    """A started pool."""
    wire = Wire()
    await wire.start()
    yield wire
    await wire.close()


async def test_post_sends_and_reads_json(wire: Wire) -> None:
    """Documents are encoded; bytes go as they are."""
    async with Upstream(respond(body=b'{"ok": [1]}')) as upstream:
        assert await wire.post(f"http://{upstream.address}/a", {"x": 1}, 5.0) == {"ok": [1]}
        await wire.post(f"http://{upstream.address}/a", b'{"y":  2}', 5.0, Options({"x-key": "k"}))
    assert [request.body for request in upstream.requests] == [b'{"x":1}', b'{"y":  2}']
    assert upstream.requests[1].header("x-key") == b"k"
    assert upstream.accepted == 1, "the connection is kept"


@pytest.mark.parametrize(
    ("action", "kind", "status", "may_pass"),
    [
        (respond(500, body=b'{"detail":""}'), "status", 500, False),
        (respond(302, headers=[(b"Location", b"http://127.0.0.1:1/")]), "status", 302, False),
        (respond(body=b"<html>"), "answer", 0, False),
        (respond(body=b""), "answer", 0, False),
        (close(b"garbage\r\n\r\n"), "answer", 400, False),
        (close(), "reset", 0, True),
        (stall(), "timeout", 0, True),
    ],
)
async def test_failures(wire: Wire, action: Action, kind: str, status: int, may_pass: bool) -> None:
    """What an answer can be, and whether another try may help."""
    async with Upstream(action) as upstream:
        with pytest.raises(CallFailed) as failed:
            await wire.post(f"http://{upstream.address}/", {}, 0.2)
    assert failed.value.kind == kind
    assert failed.value.status == (status if kind == "status" else 0)
    assert failed.value.may_pass is may_pass


async def test_refused(wire: Wire) -> None:
    """Nobody listens."""
    with refusing_port() as port, pytest.raises(CallFailed, match="connect"):
        await wire.get(f"http://127.0.0.1:{port}/", 5.0)


async def test_answers_are_bounded(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endless answer is not read to its end."""
    monkeypatch.setattr(wire_module, "MAX_ANSWER", 10)
    async with Upstream(respond(body=b"[" + b"1," * 20 + b"1]")) as upstream:
        with pytest.raises(CallFailed, match="larger than 10"):
            await wire.post(f"http://{upstream.address}/", {}, 5.0)


async def test_cancelled(wire: Wire) -> None:
    """A cancellation is no failure: it goes through."""
    async with Upstream(stall()) as upstream:
        call = asyncio.get_running_loop().create_task(wire.get(f"http://{upstream.address}/", 5.0))
        await upstream.until_requests(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_closed() -> None:
    """After the end there are no calls."""
    wire = Wire()
    await wire.start()
    await wire.close()
    with pytest.raises(CallFailed, match="closed"):
        await wire.get("http://127.0.0.1:1/", 1.0)
