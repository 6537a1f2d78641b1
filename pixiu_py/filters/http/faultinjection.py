"""Fails or delays requests on purpose, to see how clients cope."""

from __future__ import annotations

import asyncio
import random
from typing import Annotated, Literal

import orjson
from msgspec import Meta

from pixiu_py.config.types import Duration, Model, doc
from pixiu_py.filters.base import HttpFilter
from pixiu_py.http.exchange import Exchange, Request, Response
from pixiu_py.http.headers import Headers
from pixiu_py.registry import Family, plugin


class FaultRule(Model, frozen=True):
    """One fault."""

    type: Annotated[Literal["abort", "delay"], doc("abort answers here; delay waits, then lets the request go on.")]
    trigger_type: Annotated[Literal["always", "random", "percentage"], doc("When: random is one request in two.")]
    status_code: Annotated[int, Meta(ge=200, le=599, description="abort: status of the answer.")] = 500
    body: Annotated[str, doc("abort: body of the answer.")] = ""
    odds: Annotated[int, Meta(ge=0, le=100, description="percentage: share of the requests.")] = 0
    delay: Annotated[Duration, doc("delay: how long.")] = 0.0

    def hits(self, rng: random.Random) -> bool:
        """Whether the fault happens this time."""
        if self.trigger_type == "always":
            return True
        odds = 50 if self.trigger_type == "random" else self.odds
        return rng.random() * 100 < odds


class FaultInjectionConfig(Model, frozen=True):
    """Config of ``dgp.filter.http.faultinjection``."""

    fail_inject_rules: Annotated[
        dict[str, FaultRule], doc("URI → fault. A key with a query needs the very same query, one without fits any.")
    ] = {}


@plugin(Family.HTTP_FILTER, "dgp.filter.http.faultinjection")
class FaultInjection(HttpFilter):
    """Fails or delays requests on purpose."""

    Config = FaultInjectionConfig

    async def decode(self, exchange: Exchange) -> Response | None:
        """Inject the fault of this URI, if its time has come."""
        rule = self._rule(exchange.request)
        if rule is None or not rule.hits(self.context.random):
            return None
        if rule.type == "abort":
            return _reply(rule)
        await asyncio.sleep(rule.delay)
        return None

    def _rule(self, request: Request) -> FaultRule | None:
        rules: dict[str, FaultRule] = self.config.fail_inject_rules
        return rules.get(request.target) or rules.get(request.path)


def _reply(rule: FaultRule) -> Response:
    body = rule.body.encode()
    kind = b"application/json" if _is_json(body) else b"text/plain; charset=utf-8"
    headers = Headers([(b"Content-Type", kind)]) if body else Headers()
    return Response(rule.status_code, headers, body)


def _is_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True
