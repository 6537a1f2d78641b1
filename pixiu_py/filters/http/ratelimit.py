"""Limits how often groups of paths are asked for, by Sentinel's flow rules."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta

from pixiu_py.config.types import Model, doc
from pixiu_py.filters.base import Context, HttpFilter
from pixiu_py.filters.http.flow_control import Control, SlidingWindow, Throttle, decide
from pixiu_py.filters.http.resources import Resource, ResourceMatcher
from pixiu_py.http.exchange import Exchange, Response
from pixiu_py.http.headers import Headers
from pixiu_py.http.local_reply import local_reply, retry_after
from pixiu_py.registry import Family, plugin

THROTTLE: Final = 1

Milliseconds = Annotated[int, Meta(ge=0)]


class FlowRule(Model, frozen=True):
    """One of Sentinel's flow rules. Pixiu reads its keys in any case: samples write ``statintervalinms``."""

    case_insensitive: ClassVar[bool] = True

    resource: Annotated[str, doc("Name of the resource.")]
    threshold: Annotated[float, Meta(ge=0, description="Requests per statIntervalInMs; 0 refuses all.")]
    id: Annotated[str | int, doc("Accepted and unused.")] = ""
    statIntervalInMs: Annotated[  # noqa: N815 - Sentinel's key
        Milliseconds, doc("Length of the interval, in milliseconds; 0: 1000.")
    ] = 1000
    controlBehavior: Annotated[  # noqa: N815 - Sentinel's key
        Literal[0, 1], doc("Above the threshold: 0 refuse, 1 space requests out evenly.")
    ] = 0
    maxQueueingTimeMs: Annotated[  # noqa: N815 - Sentinel's key
        Milliseconds, doc("Longest time a request is held by controlBehavior 1; refused above.")
    ] = 0
    tokenCalculateStrategy: Annotated[  # noqa: N815 - Sentinel's key
        int, doc("Only 0, the plain threshold; warming up is not supported.")
    ] = 0
    relationStrategy: Annotated[  # noqa: N815 - Sentinel's key
        int, doc("Only 0, the resource itself.")
    ] = 0
    refResource: Annotated[str, doc("Accepted and unused.")] = ""  # noqa: N815 - Sentinel's key
    warmUpPeriodSec: Annotated[int, doc("Accepted and unused.")] = 0  # noqa: N815 - Sentinel's key
    warmUpColdFactor: Annotated[int, doc("Accepted and unused.")] = 0  # noqa: N815 - Sentinel's key

    def __post_init__(self) -> None:
        if self.tokenCalculateStrategy != 0:
            raise ValueError("tokenCalculateStrategy other than 0 (warming up) is not supported")
        if self.relationStrategy != 0:
            raise ValueError("relationStrategy other than 0 (another resource's traffic) is not supported")

    def control(self) -> Control:
        """A fresh state table for this rule."""
        interval = (self.statIntervalInMs or 1000) / 1000
        if self.controlBehavior == THROTTLE and self.threshold:
            return Throttle(self.threshold, interval, self.maxQueueingTimeMs / 1000)
        return SlidingWindow(self.threshold, interval)


class RateLimitRule(Model, frozen=True):
    """A flow rule that can be switched off."""

    flowRule: Annotated[FlowRule, doc("The limit.")]  # noqa: N815 - Pixiu's key
    enable: Annotated[bool, doc("Only enabled rules count.")] = False
    id: Annotated[int, doc("Accepted and unused, as in Pixiu.")] = 0


class RateLimitConfig(Model, frozen=True):
    """Config of ``dgp.filter.http.ratelimit``."""

    resources: Annotated[list[Resource], doc("Named groups of paths; a path of none is not limited.")] = []
    rules: Annotated[list[RateLimitRule], doc("Limits. All rules of a resource must admit a request.")] = []
    logPath: Annotated[str, doc("Accepted and unused, as Sentinel is not used.")] = ""  # noqa: N815 - Pixiu's key

    def __post_init__(self) -> None:
        known = {resource.name for resource in self.resources}
        for rule in self.rules:
            if rule.flowRule.resource not in known:
                raise ValueError(f"a rule names the resource {rule.flowRule.resource!r}, which is not there")


@plugin(Family.HTTP_FILTER, "dgp.filter.http.ratelimit")
class RateLimit(HttpFilter):
    """Answers 429 when a resource is asked for too often."""

    Config = RateLimitConfig

    def __init__(self, config: RateLimitConfig, context: Context) -> None:
        super().__init__(config, context)
        self._matcher = ResourceMatcher(config.resources)
        #: One state table per rule: the config bounds them.
        self._controls: dict[str, list[Control]] = defaultdict(list)
        for rule in config.rules:
            if rule.enable:
                self._controls[rule.flowRule.resource].append(rule.flowRule.control())

    async def decode(self, exchange: Exchange) -> Response | None:
        """Admit, hold or refuse the request."""
        resource = self._matcher.match(exchange.request.decoded_path)
        controls = self._controls.get(resource) if resource is not None else None
        if not controls:
            return None
        verdict = decide(controls, self.context.clock())
        if not verdict.admitted:
            headers = Headers.of({"Retry-After": retry_after(verdict.seconds)})
            return local_reply(429, "blocked by rate limit", headers)
        if verdict.seconds:
            await asyncio.sleep(verdict.seconds)
        return None
