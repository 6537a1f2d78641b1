"""A link to one Redis (or what speaks its protocol), for everything that is kept there.

The driver is ``redis``, an extra. Every failure is a ``StoreError``, and none is for ever: a connection that broke is made
anew by the next call. Nothing here ever shows the URL, which may hold a password.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import unquote, urlsplit

import structlog
from msgspec import Meta

from pixiu_py.config.types import Duration, Model, Secret, doc
from pixiu_py.errors import StartError
from pixiu_py.stores.base import StoreError
from pixiu_py.stores.rest import Rest

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = structlog.get_logger("pixiu_py.stores.redis")

T = TypeVar("T")
#: Runs a Lua script: its keys, its arguments.
Script = Callable[[list[str], list[str | bytes | int]], Awaitable[Any]]

_DEFAULT_PORT = 6379
#: The driver has no class of its own for this.
_NO_SUCH_DATABASE = "DB index is out of range"
#: How many keys one step of a scan looks at.
_SCAN_STEP = 500
#: Characters that mean something in a pattern of SCAN.
_GLOB = str.maketrans({char: f"\\{char}" for char in "\\*?[]"})


class RedisLinkConfig(Model, frozen=True):
    """Keys of everything that is kept in Redis."""

    url: Annotated[
        Secret,
        doc("`redis://user:password@host:port/db`, `rediss://…` for TLS, or `unix:///path?db=0`; never shown."),
    ]
    prefix: Annotated[str, doc("Stands before every key, so that several gateways can share one Redis.")] = "pixiu:"
    connect_timeout: Annotated[Duration, Meta(gt=0, description="How long making a connection may take.")] = 1.0
    timeout: Annotated[Duration, Meta(gt=0, description="How long an answer may take.")] = 0.5
    rest: Annotated[
        Duration, doc("After a call that took too long, calls fail at once for this long, and then one tries again.")
    ] = 1.0
    max_connections: Annotated[int, Meta(ge=1, description="Most connections of one worker; calls above wait.")] = 32
    ca_file: Annotated[str, doc("Certificates that may sign the server's, PEM; empty: the system's.")] = ""
    cert_file: Annotated[str, doc("Our own certificate, PEM.")] = ""
    key_file: Annotated[str, doc("Its key, PEM.")] = ""

    def __post_init__(self) -> None:
        address_of(self.url)
        try:
            import redis  # noqa: F401 - an extra
        except ImportError:
            raise ValueError("The package redis is needed for this: pip install 'pixiu-py[redis]'") from None


def address_of(url: Secret) -> dict[str, Any]:
    """The driver's arguments for a URL. Raises ``ValueError`` with a message that shows nothing of it."""
    try:
        parts = urlsplit(url.reveal())
        port = parts.port or _DEFAULT_PORT
    except ValueError:
        raise ValueError("url: This is no URL") from None
    found: dict[str, Any] = {}
    if parts.scheme in ("redis", "rediss") and parts.hostname:
        found |= {"host": parts.hostname, "port": port}
    elif parts.scheme == "unix" and parts.path:
        found["path"] = unquote(parts.path)
    else:
        raise ValueError("url: Expected redis://HOST, rediss://HOST or unix:///PATH")
    found["db"] = _database("" if "path" in found else parts.path.strip("/"), parts.query)
    if parts.username:
        found["username"] = unquote(parts.username)
    if parts.password:
        found["password"] = unquote(parts.password)
    return found


def _database(path: str, query: str) -> int:
    key, _, value = query.partition("=")
    if query and (key != "db" or path):
        raise ValueError("url: It can have no query but db=NUMBER; the rest has keys of its own")
    text = path or value
    if text and not (text.isascii() and text.isdecimal()):
        raise ValueError("url: The database is no number")
    return int(text or 0)


def milliseconds(ttl: float) -> int:
    """A time to live as Redis counts it, rounded up: a short one is not none. 0: for ever."""
    return max(1, math.ceil(ttl * 1000)) if ttl else 0


class RedisLink:
    """A pool of connections, and one way to ask that ends in time."""

    def __init__(self, config: RedisLinkConfig, clock: Callable[[], float] = time.monotonic) -> None:
        import redis

        self.config = config
        self._errors = redis.exceptions
        self._client = _client(config)
        self._longest = config.connect_timeout + config.timeout
        self._rest = Rest(config.rest, clock)

    async def start(self) -> None:
        """Try it. A Redis that is not there yet is no reason not to start; one that refuses the password or database is.

        Raises ``StartError``.
        """
        try:
            await self.ask("PING")
        except StoreError as error:
            refused = isinstance(error.__cause__, self._errors.AuthenticationError)
            if refused or _NO_SUCH_DATABASE in str(error):
                raise StartError(str(error)) from error
            log.warning("redis cannot be reached yet", reason=str(error))

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    @property
    def rests(self) -> bool:
        """Whether the last call was not answered in time: see the key ``rest``."""
        return self._rest.lasts

    def name(self, key: str) -> str:
        """The name under which Redis knows a key."""
        return f"{self.config.prefix}{key}"

    def script(self, lua: str) -> Script:
        """A script that Redis keeps; call it inside of ``run``."""
        script: Any = self._client.register_script(lua)
        return script  # type: ignore[no-any-return]

    async def ask(self, *command: str | bytes | int, twice: bool = True) -> Any:
        """The answer to one command. Raises ``StoreError``. ``twice``: see ``run``."""
        execute: Callable[..., Awaitable[Any]] = self._client.execute_command
        return await self.run(lambda: execute(*command), twice=twice)

    async def run(self, call: Callable[[], Awaitable[T]], *, twice: bool = False) -> T:
        """What ``call`` gives, within ``connect_timeout`` and ``timeout`` together. Raises ``StoreError``.

        ``twice``: it does no harm when Redis carries it out two times, so it is sent again when the connection breaks.
        """
        if not self._rest.admits():
            raise StoreError("redis did not answer in time a moment ago")
        try:
            async with asyncio.timeout(self._longest):
                answer = await self._run(call, twice)
        except (TimeoutError, self._errors.TimeoutError) as error:
            self._rest.begin()
            raise StoreError("redis did not answer in time") from error
        except (self._errors.RedisError, OSError, UnicodeError) as error:
            self._rest.end()
            raise StoreError(f"redis: {error}") from error
        self._rest.end()
        return answer

    async def names(self, prefix: str) -> AsyncIterator[list[bytes]]:
        """Names, as Redis knows them, of keys that begin with ``prefix``, some at a time; one may come twice."""
        pattern = self.name(prefix).translate(_GLOB) + "*"
        cursor = 0
        while True:
            cursor, names = await self.ask("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN_STEP)
            if names:
                yield names
            if not int(cursor):
                return

    async def _run(self, call: Callable[[], Awaitable[T]], twice: bool) -> T:
        try:
            return await call()
        except self._errors.ConnectionError as error:
            if not twice or isinstance(error, self._errors.AuthenticationError):
                raise
        return await call()


def _client(config: RedisLinkConfig) -> Redis:
    """A client that connects when it is first used, and never repeats a command by itself."""
    from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection, UnixDomainSocketConnection
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    address = address_of(config.url)
    kind: type[Any] = UnixDomainSocketConnection if "path" in address else Connection
    if config.url.reveal().startswith("rediss:"):
        kind = SSLConnection
        files = {"ssl_ca_certs": config.ca_file, "ssl_certfile": config.cert_file, "ssl_keyfile": config.key_file}
        address |= {key: path for key, path in files.items() if path}
    pool = BlockingConnectionPool(
        max_connections=config.max_connections,
        timeout=config.timeout,
        connection_class=kind,
        socket_connect_timeout=config.connect_timeout,
        socket_timeout=config.timeout,
        protocol=2,
        encoding_errors="surrogatepass",
        retry=Retry(NoBackoff(), 0),
        **address,
    )
    return Redis.from_pool(pool)
