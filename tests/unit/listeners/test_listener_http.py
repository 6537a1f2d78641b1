"""A port: bound, shared, refused, and given back."""

from __future__ import annotations

import datetime
import errno
import socket
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pixiu_py.config.model import Address, HttpServerConfig, Listener, SocketAddress
from pixiu_py.errors import StartError
from pixiu_py.http.connection import RawRequest
from pixiu_py.listeners.http import HttpListener, HttpsListener
from tests.fakes.client import Client, request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Answering:
    """A network filter that answers everything."""

    draining = False

    async def handle(self, raw: RawRequest) -> bool:
        assert raw.protocol.transport is not None
        raw.protocol.transport.write(OK)
        return not self.draining


def listener(port: int = 0, cls: type[HttpListener] = HttpListener, certs: str = "", **limits: Any) -> HttpListener:
    address = Address(socket_address=SocketAddress(address="127.0.0.1", port=port, certs_dir=certs))
    config = Listener(name="test", address=address, config=HttpServerConfig(**limits))
    return cls(config, cast(Any, Answering()), cast(Any, None))


async def test_port_0_becomes_a_real_one() -> None:
    running = listener()
    await running.start()
    host, port = running.address
    assert (host, port > 0) == ("127.0.0.1", True)
    async with Client(port) as client:
        assert (await client.request("GET", "/")).body == b"ok"
    await running.close()


async def test_port_in_use_is_a_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running = listener(port)
        with pytest.raises(StartError, match=rf"test: cannot listen on 127\.0\.0\.1:{port}: Address already in use"):
            await running.start()
        await running.close()


async def test_two_listeners_share_a_port_when_they_are_told_to() -> None:
    first = listener()
    await first.start(reuse_port=True)
    second = listener(first.address[1])
    await second.start(reuse_port=True)
    assert first.address == second.address
    await first.close()
    await second.close()


async def test_after_the_end_nobody_is_let_in_and_idle_connections_close() -> None:
    running = listener()
    await running.start()
    port = running.address[1]
    async with Client(port) as client:
        await client.request("GET", "/")
        running.stop_accepting()
        await client.wait_closed_by_peer()
        with pytest.raises(OSError):
            await Client(port).__aenter__()
    await running.drain(1.0)
    await running.close()


async def test_head_above_the_limit_is_refused_by_the_parser() -> None:
    """A single field may have no more than the whole head."""
    running = listener(max_header_bytes=1000)
    await running.start()
    async with Client(running.address[1]) as client:
        await client.send(request("GET", "/", {"X-Long": "x" * 2000}))
        assert (await client.read_response()).status == 431
    await running.close()


@pytest.mark.parametrize("files", [{}, {"tls.crt": "no certificate", "tls.key": "no key"}], ids=["none", "broken"])
async def test_https_without_a_usable_certificate_does_not_start(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    running = listener(cls=HttpsListener, certs=str(tmp_path))
    with pytest.raises(StartError, match=r"tls\.crt"):
        await running.start()
    await running.close()


async def test_https_tells_which_file_is_missing(tmp_path: Path) -> None:
    (tmp_path / "tls.crt").write_text("certificate")
    with pytest.raises(StartError, match=r"test: cannot load .*/tls\.key: No such file or directory$"):
        await listener(cls=HttpsListener, certs=str(tmp_path)).start()


async def test_https_with_a_folder_that_may_not_be_read_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a user's of its own is not allowed to look where root keeps certificates."""

    def forbidden(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", forbidden)
    with pytest.raises(StartError, match=r"test: cannot load .*/tls\.crt: Permission denied$"):
        await listener(cls=HttpsListener, certs=str(tmp_path)).start()


async def test_https_with_an_encrypted_key_asks_nobody(tmp_path: Path) -> None:
    """A service has nobody to ask, and each worker would."""
    encryption = serialization.BestAvailableEncryption(b"secret")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    (tmp_path / "tls.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "tls.key").write_bytes(pem)
    with pytest.raises(StartError, match="the key is encrypted, and nobody is asked for its password"):
        await listener(cls=HttpsListener, certs=str(tmp_path)).start()
