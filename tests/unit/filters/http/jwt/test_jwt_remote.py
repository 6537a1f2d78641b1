"""Rules of fetched keys: fetched at the start and again, bounded, and the last good ones stay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from pixiu_py.filters.http.jwt.model import HttpUri
from pixiu_py.filters.http.jwt.remote import RemoteKeys
from tests.fakes.actions import close, raw, respond
from tests.fakes.tokens import ec_signer, key_set
from tests.fakes.upstream import Action, Upstream

FIRST, SECOND = ec_signer("one"), ec_signer("two")
GOOD = respond(body=key_set(FIRST).encode())
BAD = respond(500)

Fetch = Callable[..., Any]


@pytest_asyncio.fixture
async def fetch() -> AsyncIterator[Fetch]:
    """``await fetch(upstream)``: started keys, closed at the end."""
    made: list[RemoteKeys] = []

    async def start(upstream: Upstream, **settings: Any) -> RemoteKeys:
        times = {"refresh_interval": 3600.0, "min_refresh_interval": 0.001, **settings}
        keys = RemoteKeys("issuer", HttpUri(uri=f"http://{upstream.address}/keys", **times))
        made.append(keys)
        await keys.start()
        return keys

    yield start
    for keys in made:
        await keys.close()


async def test_keys_are_there_when_the_start_is_over(fetch: Fetch) -> None:
    async with Upstream([GOOD]) as upstream:
        keys = await fetch(upstream)
        assert keys.keys is not None
        assert keys.keys.payload(FIRST.token())
        assert upstream.request.target == "/keys"


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (BAD, "status: 500"),
        (respond(302, [(b"Location", b"http://127.0.0.1:1/")]), "status: 302"),
        (respond(body=b"{}"), "no list of keys"),
        (respond(body=b"<html>"), "not JSON"),
        (respond(body=key_set(FIRST).encode() + b" " * 2000), "larger than 1000 bytes"),
        (respond(body=b" " * 2000, chunked=True), "larger than 1000 bytes"),
        (raw(asyncio.Event()), "timeout"),
        (close(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), "reset"),
    ],
)
async def test_a_failed_fetch_is_logged_and_tried_again(fetch: Fetch, action: Action, error: str) -> None:
    """Also at the start, which goes on; an answer that never comes does not hold it up."""
    async with Upstream([action, GOOD]) as upstream:
        with capture_logs() as logs:
            keys = await fetch(upstream, timeout=0.2, max_bytes=1000)
            assert keys.keys is None
            await upstream.until_requests(2)
        assert error in logs[0]["error"]


async def test_the_last_good_keys_stay(fetch: Fetch) -> None:
    """Whatever is fetched after them."""
    async with Upstream([GOOD, BAD, respond(body=b'{"keys": []}'), raw(asyncio.Event())]) as upstream:
        keys = await fetch(upstream, refresh_interval=0.001)
        await upstream.until_requests(4)
        assert keys.keys is not None
        assert keys.keys.payload(FIRST.token())


async def test_a_missed_key_is_looked_for_soon_and_the_interval_is_not_waited_for(fetch: Fetch) -> None:
    """Misses that come together are one fetch: a third request would fail the script."""
    async with Upstream([GOOD, respond(body=key_set(FIRST, SECOND).encode())]) as upstream:
        keys = await fetch(upstream)
        before = keys.keys
        keys.missed()
        keys.missed()
        async with asyncio.timeout(5):
            while keys.keys is before:
                await asyncio.sleep(0.005)  # the moment of the change has no event
        assert keys.keys.payload(SECOND.token())
        assert not keys._wanted.is_set()


async def test_misses_do_not_make_it_fetch_more_often_than_allowed(fetch: Fetch) -> None:
    """Anybody can name keys that do not exist: a second request would fail the script."""
    async with Upstream([GOOD]) as upstream:
        keys = await fetch(upstream, min_refresh_interval=3600.0)
        keys.missed()
        await asyncio.sleep(0.02)  # that nothing happens has no event
        assert len(upstream.requests) == 1


async def test_no_cookie_is_kept(fetch: Fetch) -> None:
    cookie = respond(headers=[(b"Set-Cookie", b"a=b; Path=/")], body=key_set(FIRST).encode())
    async with Upstream([cookie, GOOD]) as upstream:
        keys = await fetch(upstream)
        keys.missed()
        await upstream.until_requests(2)
        assert upstream.requests[1].header("cookie") is None
