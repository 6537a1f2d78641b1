"""What goes wrong between us and a real Redis: it ends in time, as one kind of error, and is over when the cause is."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pixiu_py.config.types import Secret
from pixiu_py.errors import StartError
from pixiu_py.stores.base import StoreError
from pixiu_py.stores.redis import RedisConfig, RedisStore
from pixiu_py.stores.redis_link import address_of, milliseconds
from pixiu_py.tasks import Tasks
from tests.fakes.services import Service, free_port, redis_server


@pytest.fixture
def server() -> Iterator[Service]:
    """A real Redis."""
    with redis_server() as running:
        yield running


@asynccontextmanager
async def opened(url: str, **keys: Any) -> AsyncIterator[RedisStore]:
    """A store, started."""
    store = RedisStore(RedisConfig(url=Secret(url), **{"timeout": 10.0, **keys}))  # patient: the machine may be busy
    await store.start()
    try:
        yield store
    finally:
        await store.close()


# --- urls ------------------------------------------------------------------------------------------------------------


def test_url_says_where_and_as_whom() -> None:
    assert address_of(Secret("redis://h")) == {"host": "h", "port": 6379, "db": 0}
    expected = {"host": "::1", "port": 7, "db": 3, "username": "me", "password": "p@ss"}
    assert address_of(Secret("rediss://me:p%40ss@[::1]:7/3")) == expected
    assert address_of(Secret("redis://:p@h/")) == {"host": "h", "port": 6379, "db": 0, "password": "p"}
    assert address_of(Secret("unix:///run/r%20s.sock?db=2")) == {"path": "/run/r s.sock", "db": 2}
    assert address_of(Secret("redis://h?db=2"))["db"] == 2


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h:6379",
        "http://h",
        "redis://",
        "redis://:hunter2@",
        "redis://h:port",
        "redis://h:70000",
        "redis://[::1",
        "redis://h/one",
        "redis://h/1?db=2",
        "redis://h?decode_responses=True",
        "unix://",
    ],
)
def test_url_that_is_none_is_refused_without_being_shown(url: str) -> None:
    """With a reason, in which nothing of the URL stands: it may hold a password."""
    with pytest.raises(ValueError, match=r"^url: ") as caught:
        RedisConfig(url=Secret(url))
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_short_time_is_not_none() -> None:
    assert [milliseconds(ttl) for ttl in (0, 1e-9, 0.0015, 0.25, 60)] == [0, 1, 2, 250, 60_000]


# --- not there, gone, back -------------------------------------------------------------------------------------------


async def test_gateway_starts_without_redis_and_finds_it_later() -> None:
    """It is a StoreError as long as nobody listens, and none from the moment somebody does."""
    with redis_server() as server:
        server.stop()
        async with opened(server.url) as store:
            for call in (store.get("k"), store.set("k", b""), store.delete("k"), store.add("k", b"")):
                with pytest.raises(StoreError):
                    await call
            for call in (store.increment("k"), store.swap("k", b"", b"")):
                with pytest.raises(StoreError):
                    await call
            with pytest.raises(StoreError):
                [entry async for entry in store.scan("")]
            server.start()
            await store.set("k", b"1")
            assert await store.get("k") == b"1"


async def test_killed_and_started_again(server: Service) -> None:
    """Connections of the pool that died with it are replaced, scripts that it has forgotten are sent again."""
    async with opened(server.url) as store:
        await asyncio.gather(*(store.set(f"k{number}", b"1") for number in range(10)))
        assert await store.swap("k1", b"1", b"2")
        server.stop(signal.SIGKILL)
        with pytest.raises(StoreError):
            await store.get("k1")
        server.start()
        assert await asyncio.gather(*(store.get(f"k{number}") for number in range(10))) == [None] * 10
        await store.set("k1", b"1")
        assert await store.swap("k1", b"1", b"2")
        assert await store.increment("n") == 1


async def test_connection_killed_by_the_server_is_not_noticed(server: Service) -> None:
    """Managed servers close idle connections: the next call is answered all the same."""
    async with opened(server.url) as store, opened(server.url) as killer:
        await store.set("k", b"1")
        for _ in range(20):
            await killer._link.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            assert await store.get("k") == b"1"


async def test_server_that_hangs_costs_its_time_out_once(server: Service) -> None:
    """Then calls fail at once, until one that tries after the rest is answered. No answer that comes late is another's."""
    now = [100.0]
    store = RedisStore(RedisConfig(url=Secret(server.url), timeout=0.5, rest=5.0), clock=lambda: now[0])
    await store.start()
    keys = [f"k{number}" for number in range(5)]
    async with opened(server.url) as patient:
        for key in keys:
            await patient.set(key, key.encode())
    server.signal(signal.SIGSTOP)
    try:
        with pytest.raises(StoreError, match=r"in time$"):
            await store.get("k0")
        for key in keys:
            with pytest.raises(StoreError, match="a moment ago"):
                await store.get(key)
    finally:
        server.signal(signal.SIGCONT)
    with pytest.raises(StoreError, match="a moment ago"):
        await store.get("k0")
    now[0] += 5.0
    assert [await store.get(key) for key in keys] == [key.encode() for key in keys]
    await store.close()


async def test_after_the_rest_one_tries_and_the_others_do_not_wait(server: Service) -> None:
    """So a Redis that still hangs delays one request per rest, not all of them."""
    now = [100.0]
    store = RedisStore(RedisConfig(url=Secret(server.url), timeout=0.5, rest=5.0), clock=lambda: now[0])
    await store.start()
    server.signal(signal.SIGSTOP)
    try:
        with pytest.raises(StoreError, match=r"in time$"):
            await store.get("k")
        now[0] += 5.0
        outcomes = await asyncio.gather(*(store.get("k") for _ in range(5)), return_exceptions=True)
    finally:
        server.signal(signal.SIGCONT)
    assert sorted(str(outcome).endswith("in time") for outcome in outcomes) == [False] * 4 + [True]
    await store.close()


async def test_cancelled_call_leaves_no_answer_behind(server: Service) -> None:
    """Its connection is not used again while an answer is still on its way."""
    async with opened(server.url, max_connections=1) as store:
        await store.set("a", b"a")
        await store.set("b", b"b")
        tasks = Tasks("test")
        for _ in range(20):
            task = tasks.spawn(store.get("a"), "get")
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await store.get("b") == b"b"


async def test_connections_are_bounded(server: Service) -> None:
    """Calls above the limit wait for a connection, and all are answered."""
    async with opened(server.url, max_connections=3, timeout=20.0) as store:
        await asyncio.gather(*(store.increment("n") for _ in range(100)))
        assert await store.get("n") == b"100"
        clients = (await store._link.ask("CLIENT", "LIST", "TYPE", "normal")).decode().strip().splitlines()
        assert len(clients) <= 3


# --- who may ---------------------------------------------------------------------------------------------------------


async def test_password_is_sent_and_never_shown(capfd: pytest.CaptureFixture[str]) -> None:
    """A wrong one stops the start: waiting does not mend it."""
    with redis_server(requirepass="hunter2") as server:
        async with opened(server.url.replace("//", "//:hunter2@")) as store:
            await store.set("k", b"1")
            assert "hunter2" not in repr(store.config)
        wrong = RedisStore(RedisConfig(url=Secret(server.url.replace("//", "//me:hunter3@"))))
        with pytest.raises(StartError) as caught:
            await wrong.start()
        assert "hunter" not in str(caught.value)
        await wrong.close()
    assert "hunter" not in "".join(capfd.readouterr())


async def test_database_that_there_is_not_stops_the_start() -> None:
    """Nor does waiting mend this."""
    with redis_server() as server:
        store = RedisStore(RedisConfig(url=Secret(server.url[: -len("/0")] + "/99")))
        with pytest.raises(StartError, match="out of range"):
            await store.start()
        await store.close()


async def test_unix_socket(tmp_path: Path) -> None:
    """A Redis on the same machine needs no port."""
    path = tmp_path / "r.sock"
    with redis_server(unixsocket=str(path)):
        async with opened(f"unix://{path}?db=1") as store:
            await store.set("k", b"1")
            assert await store.get("k") == b"1"


async def test_tls(tmp_path: Path) -> None:
    """The server's certificate is checked, and ours is shown; without the authority nothing is said at all."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=redis"
    crt, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(crt)]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    port = free_port()
    tls = {"tls-port": str(port), "tls-cert-file": str(crt), "tls-key-file": str(key), "tls-ca-cert-file": str(crt)}
    with redis_server(**tls):
        url = f"rediss://127.0.0.1:{port}"
        async with opened(url, ca_file=str(crt), cert_file=str(crt), key_file=str(key)) as store:
            await store.set("k", b"1")
            assert await store.get("k") == b"1"
        async with opened(url) as store:
            with pytest.raises(StoreError, match=r"(?i)certificate"):
                await store.get("k")
