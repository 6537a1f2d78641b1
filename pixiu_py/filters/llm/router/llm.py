"""A decider that asks a language model: a cluster of this gateway, or any URL that speaks the OpenAI API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from pixiu_py.clusters.cooldown import Cooldown
from pixiu_py.errors import StartError
from pixiu_py.filters.llm.router.answer import AnswerError, read_answer
from pixiu_py.filters.llm.router.decider import NO_ROUTE, Decider, DeciderError
from pixiu_py.filters.llm.router.model import RouterModel
from pixiu_py.filters.llm.router.prompt import build_prompt
from pixiu_py.registry import Family, plugin
from pixiu_py.upstream.client import CallFailed, Client, Service, api_service, base_at
from pixiu_py.upstream.order import first_available

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.filters.base import Context
    from pixiu_py.filters.llm.router.conversation import Conversation
    from pixiu_py.filters.llm.router.model import Preference

_CHAT = "/chat/completions"
_MOST_CALLS = 1024
_MOST_PER_ENDPOINT = 64
#: Statuses that tell nothing about the model: the question was not to its liking.
_OUR_FAULT = frozenset((400, 413, 422))


@plugin(Family.DECIDER, "llm")
class LlmDecider(Decider):
    """Asks a language model which route fits."""

    Config: ClassVar[type[RouterModel]] = RouterModel
    config: RouterModel

    def __init__(self, config: RouterModel, context: Context) -> None:
        super().__init__(config, context)
        self._client = Client(total=_MOST_CALLS, per_service=_MOST_PER_ENDPOINT)
        #: The model at a URL; None: it is a cluster's.
        self._own: Service | None = None
        #: Which of a cluster's endpoints is asked next.
        self._turn = 0
        if config.endpoint:
            self._own = base_at(config.endpoint, config.api_key)
            self._own.endpoint.cooldown = Cooldown(config.cooldown, config.failure_threshold)

    async def start(self) -> None:
        """Raise ``StartError`` when the cluster is not there."""
        if self.config.cluster and self.context.clusters.get(self.config.cluster) is None:
            raise StartError(f"the router model's cluster {self.config.cluster!r} is not there")

    async def close(self) -> None:
        """Close the connections to the model."""
        await self._client.close()

    async def decide(self, conversation: Conversation, routes: Sequence[Preference]) -> str | None:
        """See ``Decider.decide``. No call is made when there is nothing to show, or no room to show it."""
        config = self.config
        prompt = build_prompt(routes, conversation, config.max_prompt_tokens, config.max_messages)
        if prompt is None:
            return None
        names = [route.name for route in routes]
        try:
            return read_answer(_content(await self._ask(prompt, names)), names) or NO_ROUTE
        except CallFailed as error:
            raise DeciderError(error.reason, str(error)) from error
        except AnswerError as error:
            raise DeciderError(error.kind, str(error)) from error

    async def _ask(self, prompt: str, names: list[str]) -> bytes:
        config = self.config
        question: dict[str, Any] = {
            "model": config.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
        }
        if config.max_tokens:
            question["max_tokens"] = config.max_tokens
        if config.structured:
            question["response_format"] = {"type": "json_schema", "json_schema": _schema(names)}
        endpoint = self._endpoint()
        service, path = (self._own, _CHAT) if self._own is not None else (api_service(endpoint), f"/v1{_CHAT}")
        question["model"] = endpoint.models.get(config.model) or config.model
        cooldown = endpoint.cooldown
        cooldown.begin(self.context.clock())
        try:
            answer = await self._client.post(service, path, question, config.timeout, config.max_answer)
        except CallFailed as error:
            if error.status in _OUR_FAULT:
                cooldown.released()
            elif error.status == 429:
                cooldown.rest(self.context.clock(), config.cooldown)
            else:
                cooldown.failed(self.context.clock(), error.reason)
            raise
        except BaseException:
            cooldown.released()
            raise
        cooldown.succeeded(self.context.clock())
        return answer

    def _endpoint(self) -> Endpoint:
        """The endpoint to ask: of a cluster's, in turn, one that is not cooling down. Raises ``CallFailed``."""
        if self._own is not None:
            candidates: tuple[Endpoint, ...] = (self._own.endpoint,)
        else:
            cluster = self.context.clusters.get(self.config.cluster)
            candidates = cluster.candidates(self.config.model) if cluster is not None else ()
        self._turn = (self._turn + 1) % (len(candidates) or 1)
        turned = (*candidates[self._turn :], *candidates[: self._turn])
        endpoint = first_available(turned, self.context.clock())
        if endpoint is None:
            raise CallFailed("resting" if candidates else "no_endpoint")
        return endpoint


def _schema(names: list[str]) -> dict[str, Any]:
    """What an answer may be: at most one of these names."""
    route = {"type": "array", "items": {"type": "string", "enum": names}, "maxItems": 1}
    schema = {"type": "object", "properties": {"route": route}, "required": ["route"], "additionalProperties": False}
    return {"name": "route", "strict": True, "schema": schema}


def _content(body: bytes) -> str:
    """The text of a chat completion; empty when the model said nothing. Raises ``AnswerError``."""
    try:
        message = orjson.loads(body)["choices"][0]["message"]
        content = message.get("content")
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        raise AnswerError("nonsense") from None
    if isinstance(content, list):
        content = "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""
