"""What people type: curl against the gateway, with its own idea of HTTP."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.conftest import StartGateway
from tests.fakes import actions, bodies
from tests.fakes.actions import respond
from tests.fakes.bodies import chat
from tests.fakes.client import chat_body
from tests.fakes.conf import endpoint, http_conf, llm_conf
from tests.fakes.upstream import Upstream

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")

PARTIAL_FILE = 18


async def curl(*arguments: str) -> tuple[int, bytes]:
    """Exit code and standard output of curl."""
    running = await asyncio.create_subprocess_exec(
        "curl", "--silent", "--max-time", "10", "--noproxy", "*", *arguments, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await running.communicate()
    assert running.returncode is not None
    return running.returncode, output


async def test_chat(gateway: StartGateway) -> None:
    """The line in the documentation works."""
    async with Upstream([chat("hello")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        code, output = await curl(f"{running.url}/v1/chat/completions", "-d", chat_body().decode())
        assert code == 0
        assert b"hello" in output


async def test_stream(gateway: StartGateway) -> None:
    """``-N`` shows the events, all of them, and curl is content with the end."""
    async with Upstream([bodies.chat_sse("a", words=20)]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        url = f"{running.url}/v1/chat/completions"
        assert await curl("-N", url, "-d", chat_body(stream=True).decode()) == (
            0,
            b"".join(bodies.chat_events("a", 20)),
        )


async def test_head(gateway: StartGateway) -> None:
    """``-I`` prints the head and does not wait for a body."""
    async with Upstream([respond(200, body=b"abc")]) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        code, output = await curl("-I", f"{running.url}/x")
        assert code == 0
        assert b"content-length: 3" in output.lower()


@pytest.mark.parametrize("make", [llm_conf, http_conf])
@pytest.mark.parametrize("framing", [[], ["-H", "Transfer-Encoding: chunked"], ["--http1.0"]])
async def test_upload(gateway: StartGateway, tmp_path: Path, make: object, framing: list[str]) -> None:
    """Two megabytes, for which curl waits for 100 Continue, with a length, in chunks and in HTTP/1.0."""
    file = tmp_path / "body"
    file.write_bytes(b"x" * 2**21)
    async with Upstream(lambda seen: respond(200, body=b"%d" % len(seen.body))) as upstream:
        running = await gateway(make(endpoint(upstream)))  # type: ignore[operator]
        code, output = await curl(*framing, f"{running.url}/v1/x", "--data-binary", f"@{file}")
        assert (code, output) == (0, b"%d" % 2**21)


async def test_download_that_breaks_off_is_an_error(gateway: StartGateway) -> None:
    """curl can tell a part from the whole: exit code 18."""
    cut = actions.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", then="close")
    async with Upstream([cut]) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        assert await curl(f"{running.url}/x") == (PARTIAL_FILE, b"half")


async def test_several_requests_share_a_connection(gateway: StartGateway) -> None:
    """curl keeps its connection for the next URL, and so do we."""
    async with Upstream(lambda seen: respond(200, body=seen.target.encode())) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        urls = [f"{running.url}/{n}" for n in range(3)]
        assert await curl(*urls, "-w", "%{num_connects}") == (0, b"/01/10/20")
        assert upstream.accepted == 1


async def test_compressed(gateway: StartGateway) -> None:
    """``--compressed`` asks for gzip and can read what comes."""
    import gzip

    zipped = respond(200, [(b"Content-Encoding", b"gzip")], gzip.compress(b"plain"))
    async with Upstream([zipped]) as upstream:
        running = await gateway(http_conf(endpoint(upstream)))
        assert await curl("--compressed", f"{running.url}/x") == (0, b"plain")
