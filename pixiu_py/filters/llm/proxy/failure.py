"""Errors that endpoints answer, without our keys, and the reply when nothing better came: the most informative there is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from pixiu_py.errors import UpstreamError
from pixiu_py.filters.llm.proxy.hidden_key import without_key
from pixiu_py.http.exchange import Response
from pixiu_py.http.headers import Headers
from pixiu_py.http.local_reply import error_reply, message_for, retry_after

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.upstream.response import UpstreamResponse

#: Statuses after which a client does well to come back later.
_COME_BACK = frozenset((429, 503))


@dataclass(slots=True)
class FailedResponse:
    """An endpoint's own answer that was not good enough: kept in case nothing better comes."""

    status: int
    reason: str
    headers: Headers
    body: bytes


def failed_response(status: int, reason: str, headers: Headers, body: bytes, endpoint: Endpoint) -> FailedResponse:
    """Keep a failed answer. A key of ours that the endpoint repeats in it is made unreadable."""
    return FailedResponse(status, *without_key(endpoint, reason, headers, body))


def failed_stream(status: int, message: str, endpoint: Endpoint) -> FailedResponse:
    """An answer in place of a stream that began with an error."""
    error = {"message": message, "type": "upstream_error", "param": None, "code": status}
    return failed_response(status, "", _json_headers(), orjson.dumps({"error": error}), endpoint)


async def read_failure(upstream: UpstreamResponse, limit: int, timeout: float, endpoint: Endpoint) -> FailedResponse:
    """Keep a failed answer whose body is still to be read. One that is too long or too slow is left away."""
    headers = upstream.headers
    try:
        body = await _whole_body(upstream, limit, timeout)
    except UpstreamError:
        body = None
    if body is None:  # the status is still worth telling
        upstream.abort()
        headers = _json_headers()
        body = orjson.dumps({"status": upstream.status, "message": message_for(upstream.status)})
    return failed_response(upstream.status, upstream.reason, headers, body, endpoint)


async def refusal(upstream: UpstreamResponse, endpoint: Endpoint, limit: int, timeout: float) -> Response | None:
    """An error that is the answer, without a key of ours; None, and nothing is taken, if it is not to be had whole.

    Raises ``UpstreamError`` when it breaks.
    """
    whole = await _whole_body(upstream, limit, timeout)
    if whole is None:
        return None
    reason, headers, body = without_key(endpoint, upstream.reason, upstream.headers, whole)
    return Response(upstream.status, headers, body, reason)


async def _whole_body(upstream: UpstreamResponse, limit: int, timeout: float) -> bytes | None:
    """All of a body, or None: it is longer than ``limit`` or takes longer than ``timeout``, and what was read is put back."""
    clock = asyncio.get_running_loop().time
    until = clock() + timeout
    parts: list[bytes] = []
    size = 0
    while size <= limit and await upstream.ready(until - clock()):
        chunk = await upstream.read()
        if not chunk:
            return b"".join(parts)
        parts.append(chunk)
        size += len(chunk)
    upstream.unread(b"".join(parts))
    return None


def last_answer(response: FailedResponse | None, error: UpstreamError, wait: float, attempts: int) -> Response:
    """The reply after total failure.

    ``response`` is the last answer of any endpoint, if there was one, ``error`` the last failure without one. ``wait`` is
    the time in seconds until an endpoint may be asked again. After more than one attempt the client's SDK is told not to
    repeat them all, unless it is told when to.
    """
    if response is not None:
        headers = response.headers.copy()
        headers.remove("content-length")
        reply = Response(response.status, headers, response.body, response.reason)
    else:
        reply = error_reply(error)
    if reply.status in _COME_BACK and wait > 0 and "retry-after" not in reply.headers:
        reply.headers.set("Retry-After", retry_after(wait))
    if attempts > 1 and "retry-after" not in reply.headers and "x-should-retry" not in reply.headers:
        reply.headers.set("x-should-retry", "false")
    return reply


def _json_headers() -> Headers:
    return Headers([(b"Content-Type", b"application/json")])
