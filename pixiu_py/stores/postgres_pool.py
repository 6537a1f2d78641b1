"""A few connections to one PostgreSQL, for everything that is kept there.

The driver is ``asyncpg``, an extra. Every failure is a ``StoreError``, and none is for ever: connections are made when
they are needed, and a server that comes back is used by the next call. A call that fails because of its connection is
made again (``retries``); one that is refused by the database, or takes too long, is not. Nothing here shows the DSN,
which may hold a password.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar
from urllib.parse import SplitResult, urlsplit

import structlog
from msgspec import Meta

from pixiu_py.config.types import Duration, Model, Secret, doc
from pixiu_py.errors import StartError
from pixiu_py.stores.base import StoreError
from pixiu_py.stores.postgres_driver import Connection, broken, errors, migrate, refused
from pixiu_py.stores.rest import Rest
from pixiu_py.stores.schema import Schema
from pixiu_py.tasks import Tasks

log = structlog.get_logger("pixiu_py.stores.postgres")

T = TypeVar("T")

#: Seconds before the first retry; each further one doubles it, up to 2⁴ times, plus up to a fifth.
_PAUSE = 0.1
_MOST_DOUBLINGS = 4
_JITTER = 0.2
#: Seconds to say goodbye in.
_GOODBYE = 1.0


class PostgresConfig(Model, frozen=True):
    """Keys of whatever keeps something in PostgreSQL."""

    dsn: Annotated[Secret, doc("`postgresql://user:password@host:port/database?sslmode=…`; never shown.")]
    timeout: Annotated[Duration, Meta(gt=0, description="Longest time for one operation, retries included.")] = 5.0
    connect_timeout: Annotated[Duration, Meta(gt=0, description="How long making a connection may take.")] = 2.0
    rest: Annotated[
        Duration, doc("After a call that got no answer, calls fail at once for this long, and then one tries again.")
    ] = 1.0
    retries: Annotated[
        int, Meta(ge=0, le=10, description="How often a call is made again when its connection broke.")
    ] = 1
    pool_size: Annotated[int, Meta(ge=1, description="Most connections of one worker.")] = 8
    max_pending: Annotated[
        int, Meta(ge=1, description="Most calls that are under way or wait; one more is refused.")
    ] = 1000
    statement_cache: Annotated[
        int,
        Meta(ge=0, description="Prepared statements kept per connection; 0 behind a pooler that shares connections."),
    ] = 100

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.dsn.reveal())
        except ValueError:
            raise ValueError("dsn: This is no URL") from None
        if parts.scheme not in ("postgres", "postgresql"):
            raise ValueError("dsn: Expected postgresql://…")
        _check_port(parts)
        try:
            import asyncpg  # noqa: F401 - an extra
        except ImportError:
            raise ValueError("The package asyncpg is needed for this: pip install 'pixiu-py[postgres]'") from None


class PostgresPool:
    """Connections to one server, and one way to use them that ends in time."""

    def __init__(self, config: PostgresConfig, schema: Schema, jitter: Callable[[], float] = random.random) -> None:
        self._config = config
        self._schema = schema
        self._jitter = jitter
        self._errors = errors()
        self._idle: list[Connection] = []
        #: Connections in use, and the task that uses each.
        self._busy: dict[Connection, asyncio.Task[Any]] = {}
        self._places = asyncio.Semaphore(config.pool_size)
        self._migrating = asyncio.Lock()
        self._migrated = False
        self._closed = False
        self._pending = 0
        self._tasks = Tasks("postgres")
        self._rest = Rest(config.rest, time.monotonic)
        #: What began the rest.
        self._why = ""
        #: Calls that were made again.
        self.retried = 0

    async def start(self) -> None:
        """Try it. A server that is not there yet is no reason not to start; one that refuses us is.

        Raises ``StartError``.
        """
        try:
            await self.run(_nothing)
        except StoreError as error:
            if refused(error.__cause__):
                raise StartError(f"{self._schema.component}: {error}") from error
            log.warning("postgres cannot be reached yet", component=self._schema.component, reason=str(error))

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            try:
                await connection.close(timeout=_GOODBYE)
            except self._errors:
                connection.terminate()
        busy = dict(self._busy)
        for connection in busy:
            connection.terminate()  # whoever uses it hears of it
        if busy:
            await asyncio.wait(busy.values(), timeout=_GOODBYE)
        await self._tasks.close()

    async def run(self, work: Callable[[Connection], Awaitable[T]], *, timeout: float = 0.0, again: bool = True) -> T:
        """What ``work`` gives, within ``timeout`` (0: the configured one). Raises ``StoreError``.

        ``again``: it does no harm when the database carries it out two times, so it is repeated when its connection breaks.
        """
        self._admit()
        limit = timeout or self._config.timeout
        self._pending += 1
        try:
            async with asyncio.timeout(limit):
                answer = await self._insist(work, self._config.retries if again else 0)
        except TimeoutError as error:
            self._begin_rest(f"nothing within {limit:g}s")
            raise StoreError(f"postgres did not answer within {limit:g}s") from error
        except self._errors as error:
            self._begin_rest(str(error)) if broken(error) else self._rest.end()
            if type(error).__name__ == "UndefinedTableError":
                self._migrated = False  # somebody has dropped them
            raise StoreError(f"postgres: {error}") from error
        finally:
            self._pending -= 1
        self._rest.end()
        return answer

    def _begin_rest(self, why: str) -> None:
        self._why = why
        self._rest.begin()

    def _admit(self) -> None:
        if self._closed:
            raise StoreError("postgres: closed")
        if self._pending >= self._config.max_pending:
            raise StoreError(f"postgres: {self._pending} calls wait already")
        if not self._rest.admits():
            raise StoreError(f"postgres did not answer a moment ago: {self._why}")

    async def _insist(self, work: Callable[[Connection], Awaitable[T]], retries: int) -> T:
        for number in range(retries):
            try:
                return await self._once(work)
            except self._errors as error:
                if not broken(error):
                    raise
                self.retried += 1
            await asyncio.sleep(pause(number, self._jitter()))
        return await self._once(work)

    async def _once(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        async with self._places:
            connection = await self._connection()
            try:
                # On a task of its own: a call that is cancelled would make the driver ask the server to cancel it, too.
                working = self._tasks.spawn(_outcome(work, connection), "call")
                self._busy[connection] = working
                try:
                    answer, error = await asyncio.shield(working)
                except asyncio.CancelledError:
                    connection.terminate()
                    raise
                if error is not None and broken(error):
                    connection.terminate()  # it need not have noticed yet, and must not be used again
            finally:
                self._busy.pop(connection, None)
                if not connection.is_closed() and not self._closed:
                    self._idle.append(connection)
                else:
                    connection.terminate()
        if error is not None:
            raise error
        return answer  # type: ignore[no-any-return]

    async def _connection(self) -> Connection:
        """An idle connection, the one used last first, or a new one; with tables that are up to date."""
        while self._idle and self._idle[-1].is_closed():
            self._idle.pop()
        connection = self._idle.pop() if self._idle else await self._connect()
        if not self._migrated:
            await self._migrate(connection)
        return connection

    async def _connect(self) -> Connection:
        import asyncpg

        connection: Connection = await asyncpg.connect(
            self._config.dsn.reveal(),
            timeout=self._config.connect_timeout,
            statement_cache_size=self._config.statement_cache,
            server_settings={"application_name": "pixiu-py"},
        )
        return connection

    async def _migrate(self, connection: Connection) -> None:
        try:
            async with self._migrating:
                if not self._migrated:
                    await migrate(connection, self._schema)
                    self._migrated = True
        except BaseException:
            connection.terminate()
            raise


def _check_port(parts: SplitResult) -> None:
    """Raise ``ValueError`` for a port that is none. The driver would show it, and it may be the beginning of a password."""
    try:
        _ = parts.port if "," not in parts.netloc else None  # of several hosts each may have one
    except ValueError:
        raise ValueError("dsn: The port is no number; in a password, / is written as %2F, ? as %3F, # as %23") from None


def pause(number: int, jitter: float) -> float:
    """Seconds before a retry, counted from 0. ``jitter`` is from 0 to 1."""
    return float(_PAUSE * 2 ** min(number, _MOST_DOUBLINGS) * (1 + _JITTER * jitter))


async def _nothing(connection: Connection) -> None:
    await connection.fetchval("SELECT 1")


async def _outcome(
    work: Callable[[Connection], Awaitable[T]], connection: Connection
) -> tuple[T | None, Exception | None]:
    try:
        return await work(connection), None
    except Exception as error:  # noqa: BLE001 - handed on, and raised where it is waited for
        return None, error
