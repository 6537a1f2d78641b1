"""The plugin: reads the request, then lets a ``Walk`` find an endpoint that answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import field

from pixiu_py.config.types import Duration, Size, doc
from pixiu_py.errors import DownstreamError, UpstreamError
from pixiu_py.filters.llm.plan import PLAN, Plan
from pixiu_py.filters.llm.proxy.heartbeat import with_heartbeats
from pixiu_py.filters.llm.proxy.walk import Walk
from pixiu_py.filters.proxy import ProxyConfig, ProxyFilter
from pixiu_py.registry import Family, plugin

if TYPE_CHECKING:
    from pixiu_py.clusters.cluster import Cluster
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.http.exchange import Exchange, Request, Response


class LlmProxyConfig(ProxyConfig, frozen=True):
    """Keys of ``dgp.filter.llm.proxy``."""

    max_body_size: Annotated[Size, doc("Largest request body; it is kept so that it can be sent again.")] = 32 * 2**20
    fall_back_on: Annotated[
        list[int], doc("Statuses that are the fault of the endpoint's credential: no retry there, but fall back.")
    ] = field(default_factory=lambda: [401, 402, 403])
    first_event_hold: Annotated[
        Duration, doc("While a fallback is possible, how long a response may be held until its first event is seen.")
    ] = 10.0
    event_limit: Annotated[
        Size, doc("Longest event of a stream that is kept whole; a longer one is sent on in pieces.")
    ] = 64 * 1024
    failed_body_limit: Annotated[Size, doc("Of a failed answer no more than this is kept for the client.")] = 2**20
    failed_body_timeout: Annotated[Duration, doc("How long a failed answer's body may take to arrive.")] = 5.0
    longest_rest: Annotated[Duration, doc("The longest rest that an endpoint's Retry-After is believed for.")] = 3600.0
    heartbeat: Annotated[
        Duration, doc("Send an SSE comment to a streaming client after this much silence; 0: never.")
    ] = 0.0


@plugin(Family.HTTP_FILTER, "dgp.filter.llm.proxy")
class LlmProxy(ProxyFilter):
    """Calls an LLM endpoint, with retries, fallback and cooldown."""

    Config: ClassVar[type[LlmProxyConfig]] = LlmProxyConfig

    def __init__(self, config: LlmProxyConfig, context: object) -> None:
        super().__init__(config, context)  # type: ignore[arg-type]
        self.fall_back_on = frozenset(config.fall_back_on)

    async def decode(self, exchange: Exchange) -> Response:
        """Find an endpoint that answers."""
        cluster = self.cluster(exchange)
        request = exchange.request
        limit = self.config.max_body_size
        body = await request.body.read(limit) if request.body.length != 0 else b""
        model = ""
        if body and (cluster.needs_body or (cluster.restricts_models and not _planned(exchange))):
            model = await self._model(request, cluster)
        beats = bool(self.config.heartbeat and body) and await _wants_stream(request, limit)
        if beats:
            request.headers.ask_plain()  # what is compressed cannot follow a heartbeat
        deadline = exchange.started + self.config.timeout if self.config.timeout else 0.0
        walk = Walk(self, exchange, cluster, request.body.peek() or body, model, deadline)
        if beats:
            return await with_heartbeats(walk, self.config.heartbeat, self.context.tasks)
        return await walk.answer()

    def broke(self, endpoint: Endpoint, error: UpstreamError) -> None:
        """Nothing can be retried any more, but it is a failure like any other."""
        endpoint.cooldown.failed(self.context.clock(), error.kind)

    async def _model(self, request: Request, cluster: Cluster) -> str:
        """The model that is asked for, when the choice of an endpoint depends on it. A form (an upload) names none."""
        if (request.headers.get("content-type") or "")[:10].lower() == "multipart/":
            return ""
        document = await request.json(self.config.max_body_size)
        model = document.get("model") if isinstance(document, dict) else None
        return model if cluster.restricts_models and isinstance(model, str) else ""


def _planned(exchange: Exchange) -> bool:
    """Whether the models are chosen already, by filters that have no use for the body's own."""
    plan: Plan | None = exchange.params.get(PLAN)
    return plan is not None and bool(plan.models) and exchange.request.parsed is None


async def _wants_stream(request: Request, limit: int) -> bool:
    """Whether the body asks for a stream. One that is no JSON does not, and is the endpoint's business."""
    try:
        document = await request.json(limit)
    except DownstreamError as error:
        if error.status != 400:
            raise
        return False
    return isinstance(document, dict) and document.get("stream") is True
