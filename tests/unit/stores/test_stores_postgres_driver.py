"""What the driver's errors mean: is the connection at fault, and does waiting help."""

from __future__ import annotations

import asyncpg
import pytest

from pixiu_py.errors import StartError
from pixiu_py.stores.postgres_driver import broken, errors, refused


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionRefusedError(), True),
        (asyncpg.ConnectionDoesNotExistError("gone"), True),
        (asyncpg.CannotConnectNowError("starting up"), True),
        (asyncpg.AdminShutdownError("stop"), True),
        (asyncpg.PostgresError("Authentication timed out"), True),
        (asyncpg.InterfaceError("connection is closed"), True),
        (asyncpg.InternalClientError("another operation is in progress"), True),
        (asyncpg.InterfaceError("wrong number of arguments"), False),
        (asyncpg.UniqueViolationError("twice"), False),
        (asyncpg.DeadlockDetectedError("dead"), False),
        (asyncpg.TooManyConnectionsError("full"), False),
        (TimeoutError(), False),
    ],
)
def test_which_errors_are_the_connections(error: Exception, expected: bool) -> None:
    assert broken(error) is expected


def test_what_waiting_does_not_help() -> None:
    """A wrong password or database, tables of a newer version; a server that is not there may come."""
    for error in (asyncpg.InvalidPasswordError("x"), asyncpg.InvalidCatalogNameError("x"), StartError("x")):
        assert refused(error)
        assert isinstance(error, errors())
    assert not refused(OSError())
    assert not refused(None)
