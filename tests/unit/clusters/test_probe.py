"""Health probes against real sockets: what they send, and what they make of the answer."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.clusters.probe import probe, request, verdict
from pixiu_py.config.model import HealthCheck
from pixiu_py.config.types import Secret

Server = Callable[..., Awaitable[Endpoint]]


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    """``await server(answer)`` listens, reads a request head and answers; returns the endpoint. Heads are kept."""
    servers: list[asyncio.Server] = []
    open_writers: list[asyncio.StreamWriter] = []

    async def listen(answer: bytes | None = b"", tls: ssl.SSLContext | None = None) -> Endpoint:
        heads: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            open_writers.append(writer)
            heads.append(await reader.read(4096))
            if answer is not None:
                writer.write(answer)
                writer.close()

        listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
        servers.append(listening)
        endpoint = Endpoint("main", "a", "127.0.0.1", listening.sockets[0].getsockname()[1])
        endpoint.host_header = "api.example"
        endpoint.meta["heads"] = heads
        return endpoint

    yield listen
    for writer in open_writers:
        writer.transport.abort()
    for listening in servers:
        listening.close()
        await listening.wait_closed()


async def run(endpoint: Endpoint, tls: ssl.SSLContext | None = None, **check: Any) -> str:
    return await probe(endpoint, HealthCheck(**{"timeout": 5.0, **check}), tls)


async def test_tcp_asks_for_a_connection_and_sends_nothing(server: Server) -> None:
    endpoint = await server(None)
    assert await run(endpoint, protocol="tcp") == ""
    while not endpoint.meta["heads"]:
        await asyncio.sleep(0)
    assert endpoint.meta["heads"] == [b""]


@pytest.mark.parametrize("protocol", ["tcp", "http"])
async def test_a_port_that_nobody_listens_on_is_a_failure(protocol: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refused, and nobody else can have it
        endpoint = Endpoint("main", "a", "127.0.0.1", taken.getsockname()[1])
        assert (await run(endpoint, protocol=protocol)).startswith("ConnectionRefusedError")


async def test_http_really_asks_for_the_path_under_the_endpoints_name(server: Server) -> None:
    """Pixiu's HTTP checks only open a connection."""
    endpoint = await server(b"HTTP/1.1 200 OK\r\n\r\n")
    endpoint.api_key = Secret("the-key")
    assert await run(endpoint, protocol="http", path="/live?x=1") == ""
    [head] = endpoint.meta["heads"]
    assert head.startswith(b"GET /live?x=1 HTTP/1.1\r\nHost: api.example\r\n")
    assert head.endswith(b"\r\nConnection: close\r\n\r\n")
    assert b"the-key" not in head


async def test_an_unexpected_status_is_a_failure(server: Server) -> None:
    assert await run(await server(b"HTTP/1.1 503 Nope\r\n\r\n"), protocol="http") == "status 503"


async def test_a_server_that_hangs_up_or_talks_nonsense_is_a_failure(server: Server) -> None:
    assert await run(await server(b""), protocol="http") == "the connection was closed without an answer"
    assert await run(await server(b"SSH-2.0\r\n"), protocol="http") == "the answer is not HTTP"


async def test_an_endless_first_line_is_a_failure_and_is_not_collected(server: Server) -> None:
    assert await run(await server(b"H" * 100_000), protocol="http") != ""


async def test_a_server_that_says_nothing_is_a_failure_after_the_timeout(server: Server) -> None:
    endpoint = await server(None)
    assert await run(endpoint, protocol="http", timeout=0.05) == "no answer within 0.05 s"


async def test_a_name_that_cannot_be_resolved_is_a_failure() -> None:
    endpoint = Endpoint("main", "a", "x" * 300, 80)
    assert await run(endpoint) != ""


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for ``api.example`` and its key."""
    folder = tmp_path_factory.mktemp("tls")
    crt, key = folder / "tls.crt", folder / "tls.key"
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(key)]
    names = ["-subj", "/CN=api.example", "-addext", "subjectAltName=DNS:api.example"]
    command = ["openssl", "req", "-x509", "-days", "2", *new_key, *names, "-out", str(crt)]
    subprocess.run(command, check=True, capture_output=True)
    return crt, key


@pytest.fixture
def server_tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


async def test_https_is_verified_under_the_endpoints_name_and_not_its_address(
    server: Server, server_tls: ssl.SSLContext, certificate: tuple[Path, Path]
) -> None:
    endpoint = await server(b"HTTP/1.1 200 OK\r\n\r\n", server_tls)
    endpoint.server_name = "api.example"
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    assert await run(endpoint, trusting, protocol="https") == ""
    endpoint.server_name = "other.example"
    assert "certificate" in (await run(endpoint, trusting, protocol="https")).lower()


async def test_https_to_an_unknown_certificate_is_a_failure(server: Server, server_tls: ssl.SSLContext) -> None:
    endpoint = await server(b"HTTP/1.1 200 OK\r\n\r\n", server_tls)
    assert "verify failed" in await run(endpoint, ssl.create_default_context(), protocol="https")


# --- pure parts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\n", [], ""),
        (b"HTTP/1.0 204\r\n", [], ""),
        (b"HTTP/1.1 299 \r\n", [], ""),
        (b"HTTP/1.1 301 Moved\r\n", [], "status 301"),
        (b"HTTP/1.1 404 Not Found\r\n", [404], ""),
        (b"HTTP/1.1 200 OK\r\n", [404], "status 200"),
        (b"HTTP/1.1 two\r\n", [], "the answer is not HTTP"),
        (b"\r\n", [], "the answer is not HTTP"),
    ],
)
def test_status_lines(line: bytes, expected: list[int], reason: str) -> None:
    assert verdict(line, expected) == reason


def test_a_path_always_begins_with_one_slash() -> None:
    endpoint = Endpoint("main", "a", "127.0.0.1", 80)
    for path in ("health", "/health"):
        assert request(endpoint, path).startswith(b"GET /health HTTP/1.1\r\n")


async def test_an_open_port_follows_the_protocol_of_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    async def connect(host: str, port: int, **_: Any) -> None:
        tried.append(port)
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio, "open_connection", connect)
    endpoint = Endpoint("main", "a", "api.example", 0)
    for protocol in ("http", "https", "tcp"):
        await run(endpoint, protocol=protocol)
    endpoint.scheme = "http"
    await run(endpoint, protocol="tcp")
    assert tried == [80, 443, 443, 80]
