"""The answer when everything has failed: the most informative there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pixiu_py.errors import UpstreamError
from pixiu_py.http.exchange import Response
from pixiu_py.http.headers import Headers
from pixiu_py.http.local_reply import error_reply, retry_after

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint

#: A key of fewer letters and nothing else, such as EMPTY or none, is no secret, and might be any word of an answer.
SHORTEST_WORD = 8
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
    key = endpoint.api_key.reveal().encode() if endpoint.api_key else b""
    if key and not (key.isalpha() and len(key) < SHORTEST_WORD):
        body = body.replace(key, b"***")
        headers = Headers([(name, value.replace(key, b"***")) for name, value in headers.raw])
    return FailedResponse(status, reason, headers, body)


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
