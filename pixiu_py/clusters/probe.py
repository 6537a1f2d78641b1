"""One health probe: can a connection be opened, and does an HTTP path answer as it should."""

from __future__ import annotations

import asyncio
import ssl

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.config.model import HealthCheck

#: Bytes of a status line; more is no HTTP.
MAX_STATUS_LINE = 4096


async def probe(endpoint: Endpoint, check: HealthCheck, tls: ssl.SSLContext | None) -> str:
    """Probe once. Returns why it failed, or an empty string. ``tls`` is used for ``https`` alone.

    No credential is sent: a health path should need none, and a probe must not spend the endpoint's key.
    """
    try:
        async with asyncio.timeout(check.timeout or None):
            return await _try(endpoint, check, tls if check.protocol == "https" else None)
    except TimeoutError:
        return f"no answer within {check.timeout:g} s"
    except (OSError, ValueError) as error:  # refused, reset, TLS; a host that is no name; a line that is too long
        return f"{type(error).__name__}: {error}"


async def _try(endpoint: Endpoint, check: HealthCheck, tls: ssl.SSLContext | None) -> str:
    port = endpoint.port_for(_scheme(endpoint, check))
    name = endpoint.server_name if tls else None
    reader, writer = await asyncio.open_connection(
        endpoint.host, port, ssl=tls, server_hostname=name, limit=MAX_STATUS_LINE
    )
    try:
        if check.protocol == "tcp":
            return ""
        writer.write(request(endpoint, check.path))
        return verdict(await reader.readline(), check.expected_statuses)
    finally:
        writer.transport.abort()  # the verdict is in: no reason to wait for a farewell


def _scheme(endpoint: Endpoint, check: HealthCheck) -> str:
    if check.protocol != "tcp":
        return check.protocol
    return endpoint.scheme or "https"  # a name without port and scheme is mostly a public API


def request(endpoint: Endpoint, path: str) -> bytes:
    """The bytes of an HTTP probe."""
    lines = (
        f"GET /{path.lstrip('/')} HTTP/1.1",
        f"Host: {endpoint.host_header}",
        "User-Agent: pixiu-py-health",
        "Accept: */*",
        "Connection: close",
    )
    return "\r\n".join((*lines, "\r\n")).encode("utf-8", "surrogateescape")


def verdict(status_line: bytes, expected: list[int]) -> str:
    """Why a status line is not a healthy one; an empty string if it is. Without ``expected``, any 2xx is."""
    parts = status_line.split(None, 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/") or not parts[1].isdigit():
        return "the answer is not HTTP" if status_line else "the connection was closed without an answer"
    status = int(parts[1])
    healthy = status in expected if expected else 200 <= status < 300
    return "" if healthy else f"status {status}"
