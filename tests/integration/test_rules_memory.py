"""Rule: memory per exchange is bounded, whatever the size of a body."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import actions
from tests.fakes.actions import flood
from tests.fakes.client import Client, request
from tests.fakes.conf import endpoint, http_conf, http_filter, llm_conf
from tests.fakes.process import gateway_process
from tests.fakes.upstream import Action, Connection, Request, Upstream
from tests.fakes.wire import LAST_CHUNK, chunk

GIB = 2**30
PIECE = 2**18
#: How much more memory than before the process may need.
EXTRA = 64 * 2**20
QUIET = {"access_log": {"enable": False}}


async def read_all(reader: asyncio.StreamReader, size: int) -> None:
    """Read so many bytes and forget them."""
    while size > 0:
        data = await reader.read(min(size, 2**20))
        assert data, f"{size} bytes are missing"
        size -= len(data)


async def read_chunks(reader: asyncio.StreamReader) -> int:
    """Read a chunked body and forget it; return how large it was."""
    total = 0
    while size := int(await reader.readuntil(b"\r\n"), 16):
        await read_all(reader, size + 2)
        total += size
    assert await reader.readexactly(2) == b"\r\n"
    return total


def swallow() -> Action:
    """Take a body as it comes, then answer how large it was."""

    async def run(connection: Connection, seen: Request) -> None:
        length = int(seen.header("content-length") or 0)
        if length:
            await read_all(connection.reader, length)
        else:
            length = await read_chunks(connection.reader)
        await actions.respond(200, body=b"%d" % length).run(connection, seen)

    return Action(run, when="head")


async def upload(port: int, fields: dict[str, str], piece: bytes, end: bytes = b"") -> None:
    """Send ``piece`` again and again, as fast as it is taken, until a gibibyte has gone."""
    async with Client(port) as client:
        await client.send(request("PUT", "/up", fields))
        for _ in range(GIB // PIECE):
            client.writer.write(piece)
            await client.writer.drain()
        await client.send(end)
        assert int((await client.read_response()).body) == GIB


async def download(port: int) -> None:
    """Take a gibibyte."""
    async with Client(port) as client:
        await client.send(request("GET", "/down"))
        head = await client.read_head()
        assert head.header("content-length") == str(GIB).encode()
        await read_all(client.reader, GIB)


@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_a_gibibyte_up_takes_no_gibibyte_of_memory(tmp_path: Path, framing: str) -> None:
    """Through the plain proxy, measured at the peak of the process."""
    async with Upstream(swallow()) as upstream:
        async with gateway_process(tmp_path, http_conf(endpoint(upstream), top=QUIET)) as running:
            before = running.peak_memory()
            if framing == "length":
                await upload(running.port, {"Content-Length": str(GIB)}, bytes(PIECE))
            else:
                await upload(running.port, {"Transfer-Encoding": "chunked"}, chunk(bytes(PIECE)), LAST_CHUNK)
            assert running.peak_memory() - before < EXTRA


@pytest.mark.parametrize(
    "make",
    [http_conf, lambda *blocks, **more: llm_conf(*blocks, filters=[http_filter("dgp.filter.llm.tokenizer")], **more)],
    ids=["plain", "llm"],
)
async def test_a_gibibyte_down_takes_no_gibibyte_of_memory(tmp_path: Path, make: Callable[..., str]) -> None:
    """Through either proxy, also while a filter reads along."""
    async with Upstream(flood(GIB, PIECE)) as upstream:
        async with gateway_process(tmp_path, make(endpoint(upstream), top=QUIET)) as running:
            before = running.peak_memory()
            await download(running.port)
            assert running.peak_memory() - before < EXTRA


async def test_the_measure_measures(tmp_path: Path) -> None:
    """A body that is kept, because it may have to be sent again, is seen at once."""
    size = 2 * EXTRA
    limits = {"max_body_size": size}
    async with Upstream(actions.respond(200)) as upstream:
        async with gateway_process(tmp_path, llm_conf(endpoint(upstream), proxy=limits, top=QUIET)) as running:
            before = running.peak_memory()
            async with Client(running.port) as client:
                await client.send(request("PUT", "/up", {"Content-Length": str(size)}))
                for _ in range(size // PIECE):
                    await client.send(bytes(PIECE))
                assert (await client.read_response()).status == 200
            assert running.peak_memory() - before > EXTRA
