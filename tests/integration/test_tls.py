"""TLS on both sides: a listener with a certificate, and endpoints whose certificates are checked."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from pixiu_py.errors import StartError
from tests.conftest import StartGateway
from tests.fakes import actions
from tests.fakes.bodies import chat
from tests.fakes.client import Client
from tests.fakes.conf import endpoint, http_conf, llm_conf
from tests.fakes.upstream import Upstream

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tls.crt and tls.key for localhost and 127.0.0.1, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "2"]
    command += ["-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def server_side(folder: Path) -> ssl.SSLContext:
    """A server's context with that certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


def client_side(folder: Path) -> ssl.SSLContext:
    """A client's context that trusts that certificate."""
    return ssl.create_default_context(cafile=folder / "tls.crt")


def https(folder: Path) -> dict[str, object]:
    """A listener block for HTTPS."""
    socket_address = {"address": "127.0.0.1", "port": 0, "certs_dir": str(folder)}
    return {"protocol_type": "HTTPS", "address": {"socket_address": socket_address}}


async def test_listener_speaks_tls(gateway: StartGateway, certificates: Path) -> None:
    """A request over TLS is served like any other, one after the other on the same connection."""
    async with Upstream(chat("a")) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), listener=https(certificates)))
        async with Client(running.port, tls=client_side(certificates)) as client:
            assert (await client.chat()).status == 200
            assert (await client.chat()).status == 200


async def test_endpoint_hears_that_the_client_spoke_tls(gateway: StartGateway, certificates: Path) -> None:
    """X-Forwarded-Proto is the listener's, whatever the endpoint is spoken to in."""
    async with Upstream(chat("a")) as upstream:
        running = await gateway(http_conf(endpoint(upstream), listener=https(certificates)))
        async with Client(running.port, tls=client_side(certificates)) as client:
            assert (await client.request("GET", "/")).status == 200
        assert upstream.request.header("x-forwarded-proto") == b"https"


async def test_plain_request_to_a_tls_port_gets_nothing(gateway: StartGateway, certificates: Path) -> None:
    """And harms nobody."""
    async with Upstream([chat("a")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream), listener=https(certificates)))
        async with running.client() as plain:
            await plain.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert b"HTTP/1.1 2" not in await plain.read_rest()
        async with Client(running.port, tls=client_side(certificates)) as client:
            assert (await client.chat()).status == 200


async def test_listener_without_certificate_does_not_start(gateway: StartGateway, tmp_path: Path) -> None:
    """It says which folder it looked into."""
    with pytest.raises(StartError, match=r"tls\.crt"):
        await gateway(llm_conf(listener=https(tmp_path)))


async def test_certificate_of_an_endpoint_is_checked(gateway: StartGateway, certificates: Path) -> None:
    """An unknown certificate is a failed connection, unless the endpoint's ``tls_verify`` is off."""
    async with Upstream(chat("a"), tls=server_side(certificates)) as upstream:
        for verify, status in ((True, 502), (False, 200)):
            outer = {"scheme": "https", "tls_verify": verify}
            running = await gateway(llm_conf(endpoint(upstream, outer=outer)))
            assert (await running.chat()).status == status
        assert len(upstream.requests) == 1


async def test_trusted_certificate_is_accepted(
    gateway: StartGateway, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which authorities count is OpenSSL's usual matter; https and http endpoints live in one cluster."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "tls.crt"))
    async with Upstream([chat("a")], tls=server_side(certificates)) as secure, Upstream([chat("b")]) as plain:
        running = await gateway(llm_conf(endpoint(secure, outer={"scheme": "https"}), endpoint(plain)))
        assert [(await running.chat()).status for _ in range(2)] == [200, 200]
        assert secure.request.header("host") == secure.address.encode()


async def test_endpoint_that_speaks_no_tls_is_a_failed_connection(gateway: StartGateway) -> None:
    """And another one may answer."""
    plain = replace(actions.close(b"HTTP/1.1 400 Bad Request\r\n\r\n"), when="accept")
    async with Upstream([plain]) as wrong, Upstream([chat("b")]) as right:
        endpoints = (endpoint(wrong, outer={"scheme": "https"}, fallback=True), endpoint(right))
        running = await gateway(llm_conf(*endpoints))
        assert (await running.chat()).status == 200
        assert (await running.wait_log())[0]["attempts"][0]["error"] == "connect_failed"
