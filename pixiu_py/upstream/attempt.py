"""One attempt at one endpoint: a connection, a request, a response head.

A reused keep-alive connection that dies before any byte of the response is replaced by a fresh one, and this is no attempt
of its own: the endpoint had closed an idle connection while the request was on its way (RFC 9112 §9.3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pixiu_py.errors import UpstreamProtocolError, UpstreamReset

if TYPE_CHECKING:
    from pixiu_py.upstream.pool import ConnectionPool
    from pixiu_py.upstream.response import UpstreamResponse


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds; 0 means no limit. The connect time is the pool's."""

    first_byte: float = 600.0
    idle: float = 300.0


async def attempt(
    pool: ConnectionPool,
    head: bytes,
    body: bytes,
    timeouts: Timeouts,
    *,
    with_body: bool = True,
    again: bool = True,
) -> UpstreamResponse:
    """Send a request whose body is at hand and wait for the response head. Raises ``UpstreamError``.

    ``again`` False: it must not arrive two times, so that nothing replaces a reused connection that dies.
    """
    connection = pool.take()
    while True:
        if connection is None:
            connection = await pool.connect()
        is_reused = connection.served > 0
        connection.send(head, body, with_body=with_body)
        try:
            response = await connection.response(timeouts.first_byte, timeouts.idle)
        except UpstreamReset as error:
            if error.bytes_seen or not is_reused or not again:
                raise
            connection = None
            continue
        if response.status == 101:
            response.abort()
            raise UpstreamProtocolError("the endpoint changed the protocol unasked")
        return response
