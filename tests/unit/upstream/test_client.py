"""Calls of the gateway's own: always an end, always a limit, one kind of error."""

from __future__ import annotations

import asyncio

import pytest

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.config.types import Secret
from pixiu_py.upstream import client as module
from pixiu_py.upstream.client import CallFailed, Client, Service, api_service, base_at, parsed, service_at
from pixiu_py.upstream.pool import Pools
from tests.fakes.actions import close, respond, stall
from tests.fakes.bodies import chat
from tests.fakes.upstream import Action, Upstream, refusing_port


def at(upstream: Upstream, path: str = "") -> Service:
    """The service that a scripted endpoint is."""
    return service_at(f"http://{upstream.address}{path}")


# --- where a call goes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "sent_host", "path"),
    [
        ("https://models.example/api.json?x=1", "https", "models.example", 443, "models.example", "/api.json?x=1"),
        ("HTTP://127.0.0.1:9009", "http", "127.0.0.1", 9009, "127.0.0.1:9009", ""),
        (" http://[::1]:8000/certs/ ", "http", "::1", 8000, "[::1]:8000", "/certs/"),
        ("http://bücher.example/a b%20c", "http", "xn--bcher-kva.example", 80, "xn--bcher-kva.example", "/a%20b%20c"),
    ],
)
def test_url(url: str, scheme: str, host: str, port: int, sent_host: str, path: str) -> None:
    """Where to connect, whom to ask for, and what; a path is sent in the form in which a request line takes it."""
    service = service_at(url)
    endpoint = service.endpoint
    assert (endpoint.scheme, endpoint.host, endpoint.port) == (scheme, host, port)
    assert (endpoint.host_header, service.path) == (sent_host, path)


@pytest.mark.parametrize("end", ["", "/", " ", "/ ", " /", "//\n"])
def test_slash_at_the_end_of_a_base_is_no_part_of_it(end: str) -> None:
    """Nor are blanks, before it or behind it: a path that begins with a slash is put there."""
    assert base_at(f" http://h/v1{end}").path == "/v1"


@pytest.mark.parametrize("url", ["", "h:80/v1", "ftp://h/", "http://", "http://h:x/"])
def test_what_is_no_url(url: str) -> None:
    """Is refused before anything is asked."""
    with pytest.raises(ValueError, match=r".+"):
        service_at(url)


async def test_an_engine_is_called_as_the_proxy_calls_it(client: Client) -> None:
    """With its own Host and key; at its root, or behind the prefix of its API. A client's key is not there to be sent."""
    async with Upstream(respond(body=b"{}")) as upstream:
        endpoint = Endpoint("main", "a", "127.0.0.1", upstream.port)
        endpoint.host_header, endpoint.path_prefix = "engine.example", "/api"
        endpoint.api_key, endpoint.auth_header = Secret("k"), "x-api-key"
        await client.get(Service(endpoint), "/metrics", 5.0)
        await client.get(api_service(endpoint), "/v1/models", 5.0)
        plain = Endpoint("main", "b", "127.0.0.1", upstream.port)
        await client.get(Service(plain), "/", 5.0)
    first, second, third = upstream.requests
    assert (first.target, second.target) == ("/metrics", "/api/v1/models")
    assert (first.header("host"), first.header("x-api-key")) == (b"engine.example", b"k")
    assert (third.header("host"), third.header("authorization")) == (upstream.address.encode(), None)


async def test_who_is_meant_by_a_url(client: Client) -> None:
    """A key goes as a bearer token; without one the URL's user does, and neither stands in the Host."""
    async with Upstream(respond(body=b"{}")) as upstream:
        url = f"http://us%20er:pass@{upstream.address}"
        await client.get(service_at(url), "", 5.0)
        await client.get(service_at(url, Secret("k")), "/a", 5.0)
    first, second = upstream.requests
    assert (first.target, first.header("authorization")) == ("/", b"Basic dXMgZXI6cGFzcw==")
    assert second.header("authorization") == b"Bearer k"
    assert first.header("host") == upstream.address.encode()


# --- calls -----------------------------------------------------------------------------------------------------------


async def test_documents(client: Client) -> None:
    """They are sent as JSON, bytes as they are; the connection is kept, and nothing compressed is asked for."""
    async with Upstream(respond(body=b'{"ok": [1]}')) as upstream:
        assert await client.ask(at(upstream, "/base"), "/a", {"x": 1}, 5.0) == {"ok": [1]}
        assert await client.post(at(upstream), "/b", b'{"y":  2}', 5.0) == b'{"ok": [1]}'
        await client.get(at(upstream), "/c", 5.0)
        service = at(upstream)
        before = upstream.accepted
        await client.get(service, "/d", 5.0)
        await client.get(service, "/e", 5.0)
        assert upstream.accepted == before + 1
    first, second, third, *_ = upstream.requests
    assert (first.method, first.target, first.body) == ("POST", "/base/a", b'{"x":1}')
    assert (first.header("content-type"), first.header("accept-encoding")) == (b"application/json", b"identity")
    assert second.body == b'{"y":  2}'
    assert (third.method, third.target, third.body, third.header("content-type")) == ("GET", "/c", b"", None)


@pytest.mark.parametrize(
    ("action", "kind", "reason", "status", "may_pass"),
    [
        (respond(500, body=b'{"detail":""}'), "status", "status_500", 500, False),
        (respond(302, headers=[(b"Location", b"http://127.0.0.1:1/")]), "status", "status_302", 302, False),
        (respond(body=b"<html>"), "answer", "answer", 0, False),
        (respond(body=b""), "answer", "answer", 0, False),
        (close(b"garbage\r\n\r\n"), "answer", "answer", 0, False),
        (close(), "reset", "reset", 0, True),
        (stall(), "timeout", "timeout", 0, True),
    ],
)
async def test_failures(client: Client, action: Action, kind: str, reason: str, status: int, may_pass: bool) -> None:
    """What an answer can be, and whether another try may help. A redirect is an answer like any other: not followed."""
    async with Upstream(action) as upstream:
        with pytest.raises(CallFailed) as failed:
            await client.ask(at(upstream), "/", {}, 0.2)
    assert (failed.value.kind, failed.value.reason, failed.value.status) == (kind, reason, status)
    assert failed.value.may_pass is may_pass


async def test_refused(client: Client) -> None:
    """Nobody listens: the call never arrived."""
    with refusing_port() as port, pytest.raises(CallFailed, match="connect") as failed:
        await client.get(service_at(f"http://127.0.0.1:{port}"), "/", 5.0)
    assert failed.value.may_pass


async def test_cancelled(client: Client) -> None:
    """A cancellation is no failure: it goes through."""
    async with Upstream(stall()) as upstream:
        call = asyncio.get_running_loop().create_task(client.get(at(upstream), "/", 5.0))
        await upstream.until_requests(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_closed() -> None:
    """After the end there are no calls."""
    client = Client()
    await client.close()
    with pytest.raises(CallFailed, match="closed"):
        await client.get(service_at("http://127.0.0.1:1"), "/", 1.0)


@pytest.mark.parametrize("again", [True, False])
async def test_what_must_not_arrive_twice(client: Client, again: bool) -> None:
    """A kept connection that turns out to be closed is replaced for a question only."""
    async with Upstream([respond(body=b"1"), close(), respond(body=b"2")]) as upstream:
        service = at(upstream)
        assert await client.ask(service, "/", {}, 5.0) == 1
        if again:
            assert await client.ask(service, "/", {}, 5.0) == 2
        else:
            with pytest.raises(CallFailed, match="reset"):
                await client.ask(service, "/", {}, 5.0, again=False)
    assert len(upstream.requests) == (3 if again else 2)


# --- bounds ----------------------------------------------------------------------------------------------------------


async def test_answers_are_bounded(client: Client) -> None:
    """A long answer is not read to its end."""
    async with Upstream(chat("x" * 1000)) as upstream:
        with pytest.raises(CallFailed, match="larger than 500") as failed:
            await client.get(at(upstream), "/", 5.0, 500)
    assert (failed.value.kind, failed.value.may_pass) == ("too_large", False)


async def test_calls_at_a_time_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One is under way, one waits for its turn, for as long as its time lasts; a third is refused."""
    monkeypatch.setattr(module, "MOST_WAITING", 1)
    client = Client(total=1)
    async with Upstream(stall()) as upstream, asyncio.TaskGroup() as group:
        other = service_at(f"http://localhost:{upstream.port}")
        first = group.create_task(client.get(at(upstream), "/", 60.0))
        await upstream.until_requests(1)
        second = group.create_task(_failure(client, other, 60.0))
        await asyncio.sleep(0)
        with pytest.raises(CallFailed, match="2 calls are under way already"):
            await client.get(other, "/", 60.0)
        first.cancel()
        await upstream.until_requests(2)
        await client.close()
        assert (await second).kind == "reset"


async def _failure(client: Client, service: Service, timeout: float) -> CallFailed:
    with pytest.raises(CallFailed) as failed:
        await client.get(service, "/", timeout)
    return failed.value


async def test_connections_to_a_service_are_bounded() -> None:
    """As many as are allowed; the pool of one service does not grow with the total."""
    client = Client(total=9, per_service=2, idle=3.0)
    settings = client._pools._settings
    assert (settings.max_connections, settings.keep_alive) == (2, 3.0)
    assert Client(total=9)._pools._settings.max_connections == 9
    assert isinstance(client._pools, Pools)


def test_what_is_no_json() -> None:
    """A part of it is shown."""
    with pytest.raises(CallFailed, match="answer: not JSON: <html>"):
        parsed(b"<html>")
