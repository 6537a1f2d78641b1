"""A server that answers as a real engine did when it was recorded."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from tests.fakes import engine_data
from tests.fakes.actions import respond, stall
from tests.fakes.upstream import Action, Request, Upstream


class RecordedEngine(Upstream):
    """Answers each request as recorded for the same method, path and body; the latest recording of a request counts.

    A request that was never recorded fails the test.
    """

    def __init__(self, name: str, *only: str) -> None:
        super().__init__(self._answer)
        self.recorded = engine_data.exchanges(name)
        #: Ids of the exchanges that are replayed; all if none is named.
        self.only = only or tuple(self.recorded)

    def _answer(self, request: Request) -> Action:
        body = _body(request.body)
        found = None
        for id_ in self.only:
            record = self.recorded[id_]
            sent = record.get("request", {})
            if (record["method"], record["path"]) == (request.method, request.target) and (
                sent.get("body", sent.get("text")) == body
            ):
                found = record["response"]
        assert found is not None, f"never recorded: {request.method} {request.target} {request.body[:300]!r}"
        if "timeout_s" in found:
            return stall(asyncio.Event())
        return respond(found["status"], body=orjson.dumps(found["body"]))


def _body(body: bytes) -> Any:
    if not body:
        return None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode()
