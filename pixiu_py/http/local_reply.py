"""Answers that the gateway makes itself, in Pixiu's shape: ``{"status": …, "message": fixed text, "error": detail}``.

``message`` depends on the status alone, so that programs can rely on it; ``error`` says what happened this time and is
left out when there is nothing to say. Neither ever names an internal address or a key.
"""

from __future__ import annotations

import math
from http import HTTPStatus

import orjson

from pixiu_py.errors import GatewayError, UnsupportedEncoding
from pixiu_py.http.exchange import Response
from pixiu_py.http.headers import Headers

#: Pixiu's fixed texts, and in the same tone those of the statuses that only this gateway answers.
MESSAGES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Route not found",
    405: "Method not allowed",
    406: "Not acceptable",
    408: "Request timeout",
    413: "Request body too large",
    415: "Unsupported media type",
    429: "Rate limited",
    431: "Request header fields too large",
    499: "Client closed request",
    500: "Internal server error",
    502: "Bad gateway",
    503: "Service unavailable",
    504: "Gateway timeout",
}


def message_for(status: int) -> str:
    """The fixed text of a status: Pixiu's, or the standard reason phrase, or ``Error``."""
    text = MESSAGES.get(status)
    if text is not None:
        return text
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def local_reply(status: int, detail: str = "", headers: Headers | None = None) -> Response:
    """An answer of the gateway's own. ``headers`` go out with it; its Content-Type is always JSON."""
    document: dict[str, str | int] = {"status": status, "message": message_for(status)}
    if detail:
        document["error"] = detail
    fields = headers.copy() if headers is not None else Headers()
    fields.set("Content-Type", "application/json")
    return Response(status, fields, orjson.dumps(document))


def error_reply(error: GatewayError) -> Response:
    """The answer to a request that cannot go on.

    An error with a ``retry_after`` (seconds) tells the client so, rounded up to whole seconds (RFC 9110 §10.2.3); one about
    a Content-Encoding tells which ones there are in any installation (§15.5.16).
    """
    reply = local_reply(error.status, error.detail)
    wait = getattr(error, "retry_after", None)
    if wait is not None:
        reply.headers.set("Retry-After", retry_after(wait))
    if isinstance(error, UnsupportedEncoding):
        reply.headers.set("Accept-Encoding", "gzip, deflate")
    return reply


def retry_after(seconds: float) -> str:
    """The value of a Retry-After field: whole seconds, at least 1, never earlier than the wait asked for."""
    return str(max(1, math.ceil(seconds)))
