"""The decision endpoint: which models the proxy would try, told to a client that calls them itself. Nothing goes upstream.

The answer has Plano's fields: ``models`` (best first; ``["none"]``: use your own), ``route``, ``trace_id``, ``session_id`` when
the client named a session, ``pinned`` and ``switched``; and ``fallback_reason`` when no route was taken. What is refused is
refused in Plano's shape as well, ``{"error": {"code", "message", "details": {"reason"}}}``, which OpenAI's SDK reads, too.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any

from pixiu_py.filters.llm.router.affinity import Pin
from pixiu_py.http.exchange import Response

if TYPE_CHECKING:
    from pixiu_py.filters.llm.router.affinity import Affinity
    from pixiu_py.filters.llm.router.choice import Choice, Chooser
    from pixiu_py.http.exchange import Exchange

#: What stands behind the prefix of the endpoint's paths.
PATHS = frozenset(("/v1/chat/completions", "/v1/messages", "/v1/responses"))
NONE = "none"
#: W3C Trace Context: version, trace id, parent id, flags.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


async def answer_decision(
    exchange: Exchange, path: str, chooser: Chooser, affinity: Affinity | None, rng: random.Random
) -> Response:
    """The decision for a request to ``path``, its prefix taken off. Raises ``DownstreamError`` for a body too large."""
    request = exchange.request
    if path not in PATHS:
        return refusal(404, "NotFound", "there is no such decision endpoint")
    if request.method != "POST":
        response = refusal(405, "MethodNotAllowed", "decisions are asked for with POST")
        response.headers.set("Allow", "POST")
        return response
    trace = trace_id(request.headers.get("traceparent") or "", rng)
    choice = await chooser.choose(exchange)
    if choice.reason == "unreadable":
        return refusal(400, "InvalidRequest", "the request body is no JSON object")
    if affinity is not None and choice.session is not None and choice.models and not choice.reason:
        affinity.answered(choice.session, Pin(choice.models[0], choice.route))
    return Response.json(200, document(choice, trace))


def document(choice: Choice, trace: str) -> dict[str, Any]:
    """The answer to a client."""
    models = list(choice.models)
    if choice.reason:
        models = [NONE]
    elif choice.held:
        models = models[:1]
    found: dict[str, Any] = {"models": models, "route": choice.route, "trace_id": trace}
    if choice.session is not None and choice.session.id:
        found["session_id"] = _readable(choice.session.id)
    found.update(pinned=choice.pinned, switched=choice.switched)
    if choice.reason:
        found["fallback_reason"] = choice.reason
    return found


def _readable(text: str) -> str:
    """A header's text as JSON can have it: bytes that are no UTF-8 are told as such."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def refusal(status: int, code: str, reason: str) -> Response:
    """The answer to a request that is none."""
    error = {"code": code, "message": "Invalid request", "details": {"reason": reason}}
    return Response.json(status, {"error": error})


def trace_id(traceparent: str, rng: random.Random) -> str:
    """The trace that the request belongs to; a new one when it names none, or all zeros."""
    match = _TRACEPARENT.fullmatch(traceparent.strip())
    if match is None or not match[1].strip("0"):
        return f"{rng.getrandbits(128) or 1:032x}"
    return match[1]
