"""Calls of the router's own: bounded in time and size, and one kind of error."""

from __future__ import annotations

import pytest

from pixiu_py.config.types import Secret
from pixiu_py.filters.llm.router.caller import Caller, CallFailed, split_url
from tests.fakes import actions
from tests.fakes.bodies import chat, error
from tests.fakes.upstream import Upstream, refusing_port


def test_url_is_split() -> None:
    """Into where to connect and what to ask for."""
    endpoint, target = split_url("https://models.example/api.json?x=1")
    assert (endpoint.host, endpoint.port, endpoint.scheme, endpoint.host_header) == (
        "models.example",
        443,
        "https",
        "models.example",
    )
    assert target == "/api.json?x=1"
    endpoint, target = split_url("http://127.0.0.1:9009")
    assert (endpoint.port, endpoint.host_header, target) == (9009, "127.0.0.1:9009", "/")


async def test_document_is_posted_with_its_key() -> None:
    """And connections are kept."""
    async with Upstream([chat("one"), chat("two")]) as upstream:
        endpoint, target = split_url(f"http://127.0.0.1:{upstream.port}/v1", Secret("key"))
        caller = Caller()
        assert b"one" in await caller.post(endpoint, f"{target}/chat/completions", b'{"a":1}', 5, 10_000)
        assert b"two" in await caller.get(endpoint, "/models", 5, 10_000)
        await caller.close()
    first, second = upstream.requests
    assert (first.method, first.target, first.body) == ("POST", "/v1/chat/completions", b'{"a":1}')
    assert first.header("authorization") == b"Bearer key"
    assert (second.method, second.target, second.body) == ("GET", "/models", b"")
    assert upstream.accepted == 1


async def test_failures_have_a_kind() -> None:
    """A bad status, an answer that is too large, one that does not come, nobody there."""
    script = [error(503), chat("x" * 1000), actions.stall()]
    async with Upstream(script) as upstream:
        endpoint, _ = split_url(f"http://127.0.0.1:{upstream.port}")
        caller = Caller()
        for kind, timeout in (("status_503", 5.0), ("too_large", 5.0), ("timeout", 0.05)):
            with pytest.raises(CallFailed) as caught:
                await caller.get(endpoint, "/", timeout, 500)
            assert caught.value.kind == kind
        with refusing_port() as port:
            nobody, _ = split_url(f"http://127.0.0.1:{port}")
            with pytest.raises(CallFailed) as caught:
                await caller.get(nobody, "/", 5, 500)
        assert caught.value.kind == "connect_failed"
        await caller.close()
