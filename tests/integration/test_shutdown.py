"""The end, and failed beginnings: what is under way may finish, nothing new begins, the exit code tells the truth."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from pixiu_py.errors import StartError
from tests.conftest import StartGateway
from tests.fakes import actions, bodies
from tests.fakes.bodies import chat
from tests.fakes.client import Client, chat_body, request
from tests.fakes.conf import endpoint, http_filter, llm_conf
from tests.fakes.process import find_free_port, on_port
from tests.fakes.upstream import Upstream

STREAM = request("POST", "/v1/chat/completions", body=chat_body(stream=True))


async def test_drain_lets_streams_finish(gateway: StartGateway) -> None:
    """New connections are refused at once, idle ones closed, and the stream under way reaches its end."""
    go = asyncio.Event()
    events = [*bodies.chat_events("a")[:1], go, *bodies.chat_events("a")[1:]]
    async with Upstream([chat("a"), actions.stream(events)]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        async with running.client() as idle, running.client() as busy, asyncio.TaskGroup() as group:
            await idle.chat()
            await busy.send(STREAM)
            await busy.read_until(b"a0")
            drain = group.create_task(running.gateway.drain())
            await idle.wait_closed_by_peer()
            with pytest.raises(OSError):
                await Client(running.port).__aenter__()
            assert not drain.done()
            go.set()
            assert b"[DONE]" in await busy.read_rest()
        assert (await running.wait_log(2))[1]["end"] == "complete"


async def test_requests_that_were_waiting_get_their_answer(gateway: StartGateway) -> None:
    """A request whose head had come before the end is served, and told that the connection closes."""
    go = asyncio.Event()
    async with Upstream([actions.stall(go, chat("a"))]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        async with running.client() as client, asyncio.TaskGroup() as group:
            await client.send(request("POST", "/v1/chat/completions", body=chat_body()))
            await upstream.until_requests(1)
            group.create_task(running.gateway.drain())
            await asyncio.sleep(0)
            go.set()
            reply = await client.read_response()
            assert reply.status == 200
            await client.wait_closed_by_peer()


async def test_drain_ends_at_its_deadline(gateway: StartGateway) -> None:
    """What takes longer than ``shutdown_config.timeout`` is cut, visibly, and the endpoint let go of."""
    async with Upstream([actions.stream(bodies.chat_events("a")[:1], then="hold")]) as upstream:
        static = {"shutdown_config": {"timeout": "100ms"}}
        running = await gateway(llm_conf(endpoint(upstream), static=static))
        async with running.client() as client:
            await client.send(STREAM)
            await client.read_until(b"a0")
            async with asyncio.timeout(3):
                await running.gateway.drain()
                await running.stop()
            assert b"0\r\n\r\n" not in await client.read_rest()
        assert running.log_lines()[0]["end"] == "shutdown"
        async with asyncio.timeout(5):
            await upstream.client_gone.wait()


async def test_port_in_use_is_an_error(gateway: StartGateway) -> None:
    """A gateway that cannot listen does not start, says so, and leaves nothing behind (see the fixture)."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = {"socket_address": {"address": "127.0.0.1", "port": taken.getsockname()[1]}}
        with pytest.raises(StartError, match="cannot listen on"):
            await gateway(llm_conf(listener={"address": address}))


async def test_two_gateways_live_side_by_side(gateway: StartGateway) -> None:
    """There is no global state: one ends, the other serves."""
    async with Upstream(chat("a")) as upstream:
        one = await gateway(llm_conf(endpoint(upstream)))
        two = await gateway(llm_conf(endpoint(upstream)))
        assert (await one.chat()).status == (await two.chat()).status == 200
        await one.stop()
        assert (await two.chat()).status == 200


# --- the process -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def process(folder: Path, text: str, *flags: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The program itself, with its configuration in a file; killed at the end if it is still there."""
    config = folder / "conf.yaml"
    config.write_text(text)
    command = [sys.executable, "-m", "pixiu_py", "gateway", "start", "-c", str(config), *flags]
    running = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            os.killpg(running.pid, signal.SIGKILL)
        await running.communicate()


@pytest.fixture
def free_port() -> int:
    """A free port from below the range out of which the kernel serves those who ask for any port."""
    return find_free_port()


async def until_listening(running: asyncio.subprocess.Process, workers: int = 1) -> int:
    """Read what the program prints until it says that it listens, once for each worker; return the port."""
    printed = b""
    assert running.stdout is not None
    async with asyncio.timeout(20):
        while printed.count(b"listening") < workers:
            line = await running.stdout.readline()
            assert line, printed.decode()
            printed += line
    found = re.search(rb"127\.0\.0\.1:(\d+)", printed)
    assert found, printed
    return int(found[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_signal_drains_and_exits_with_zero(tmp_path: Path, number: signal.Signals) -> None:
    """A stream under way gets its end; then the program is gone, with exit code 0."""
    go = asyncio.Event()
    events = [*bodies.chat_events("a")[:1], go, *bodies.chat_events("a")[1:]]
    async with Upstream([actions.stream(events)]) as upstream:
        async with process(tmp_path, llm_conf(endpoint(upstream))) as running:
            port = await until_listening(running)
            async with Client(port) as client:
                await client.send(STREAM)
                await client.read_until(b"a0")
                running.send_signal(number)
                go.set()
                assert b"[DONE]" in await client.read_rest()
            async with asyncio.timeout(10):
                assert await running.wait() == 0


async def test_second_signal_does_not_wait(tmp_path: Path) -> None:
    """Whoever asks twice means it."""
    async with Upstream([actions.stream(bodies.chat_events("a")[:1], then="hold")]) as upstream:
        async with process(tmp_path, llm_conf(endpoint(upstream))) as running:
            port = await until_listening(running)
            async with Client(port) as client:
                await client.send(STREAM)
                await client.read_until(b"a0")
                running.send_signal(signal.SIGTERM)
                assert running.stdout is not None
                while b"draining" not in await running.stdout.readline():
                    pass
                running.send_signal(signal.SIGTERM)
                async with asyncio.timeout(10):
                    await running.wait()


SLOW = """
import asyncio
import os

from pixiu_py.filters.base import HttpFilter
from pixiu_py.registry import Family, plugin


@plugin(Family.HTTP_FILTER, "test.slow")
class Slow(HttpFilter):
    async def start(self):
        os.write(1, b"starting\\n")
        await asyncio.Event().wait()

    async def close(self):
        os.write(1, b"closed\\n")
"""


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_signal_ends_a_start_that_takes_long(tmp_path: Path, free_port: int, workers: str) -> None:
    """What had been started is closed, nobody listens, and the exit code is that of an end in order."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "slow.py").write_text(SLOW)
    text = on_port(free_port, llm_conf(filters=[http_filter("test.slow")]))
    async with process(tmp_path, text, "--plugins-dir", str(plugins), "-m", workers) as running:
        assert running.stdout is not None
        async with asyncio.timeout(20):
            for _ in range(int(workers)):
                assert await running.stdout.readline() == b"starting\n"
            running.send_signal(signal.SIGTERM)
            printed = await running.stdout.read()
            assert await running.wait() == 0
    assert printed.count(b"closed") == int(workers)
    assert b"Traceback" not in printed


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_log_that_cannot_be_written_changes_nothing(tmp_path: Path, free_port: int, workers: str) -> None:
    """On a full disk, or to a reader that is gone: bad requests are answered, and the end is one in order."""
    config = tmp_path / "conf.yaml"
    config.write_text(on_port(free_port, llm_conf()))
    command = [sys.executable, "-m", "pixiu_py", "gateway", "start", "-c", str(config), "-m", workers]
    with open("/dev/full", "wb") as full:
        running = await asyncio.create_subprocess_exec(*command, stdout=full, stderr=full, start_new_session=True)
    try:
        async with asyncio.timeout(20):
            while True:
                with suppress(OSError):  # nothing tells when it listens
                    async with Client(free_port) as client:
                        await client.send(b"GARBAGE\r\n\r\n")
                        assert (await client.read_rest()).startswith(b"HTTP/1.1 400 ")
                        break
                await asyncio.sleep(0.05)
            running.send_signal(signal.SIGTERM)
            assert await running.wait() == 0
    finally:
        if running.returncode is None:
            os.killpg(running.pid, signal.SIGKILL)
            await running.wait()


async def test_failed_bind_is_fatal(tmp_path: Path) -> None:
    """The program ends with an error rather than live without a listener."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with process(tmp_path, on_port(port, llm_conf())) as running:
            output, _ = await asyncio.wait_for(running.communicate(), 20)
            assert running.returncode not in (0, None)
            assert str(port).encode() in output
            assert b"Traceback" not in output


async def test_wrong_configuration_is_fatal(tmp_path: Path) -> None:
    """Every problem is named with its line, and the exit code is not 0."""
    text = llm_conf(cluster={"lb_policy": "RoundRobbin"}, proxy={"timout": "1s"})
    async with process(tmp_path, text) as running:
        output, _ = await asyncio.wait_for(running.communicate(), 20)
        assert running.returncode not in (0, None)
        assert b"conf.yaml:" in output
        assert b"RoundRobin" in output
        assert b"timeout" in output
        assert b"Traceback" not in output


@pytest.mark.parametrize("sent", [(signal.SIGINT,), (signal.SIGHUP, signal.SIGHUP)], ids=["ctrl-c", "closed"])
@pytest.mark.parametrize("workers", [1, 2])
async def test_what_a_terminal_sends_counts_once(
    tmp_path: Path, free_port: int, workers: int, sent: tuple[signal.Signals, ...]
) -> None:
    """SIGINT comes to every process, SIGHUP from the shell and from the terminal: all drain rather than count a second one."""
    go = asyncio.Event()
    events = [*bodies.chat_events("a")[:1], go, *bodies.chat_events("a")[1:]]
    async with Upstream([actions.stream(events)]) as upstream:
        async with process(tmp_path, on_port(free_port, llm_conf(endpoint(upstream))), "-m", str(workers)) as running:
            await until_listening(running, workers=workers)
            async with Client(free_port) as client:
                await client.send(STREAM)
                await client.read_until(b"a0")
                os.killpg(running.pid, sent[0])
                assert running.stdout is not None
                async with asyncio.timeout(10):
                    for _ in range(workers):
                        await running.stdout.readuntil(b"draining")
                for number in sent[1:]:
                    os.killpg(running.pid, number)
                await asyncio.sleep(0.3)  # that nothing is cut has no event
                go.set()
                assert b"[DONE]" in await client.read_rest()
            async with asyncio.timeout(10):
                assert await running.wait() == 0


async def test_workers_share_a_port_and_end_together(tmp_path: Path, free_port: int) -> None:
    """Two processes serve one port; a signal to the parent ends both, with exit code 0."""
    async with Upstream(chat("a")) as upstream:
        text = on_port(free_port, llm_conf(endpoint(upstream)))
        async with process(tmp_path, text, "-m", "2") as running:
            await until_listening(running, workers=2)
            for _ in range(10):
                async with Client(free_port) as client:
                    assert (await client.chat()).status == 200
            running.send_signal(signal.SIGTERM)
            async with asyncio.timeout(15):
                assert await running.wait() == 0
