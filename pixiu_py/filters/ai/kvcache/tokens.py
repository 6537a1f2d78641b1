"""The tokens of prompts: from the cache, else from an engine's tokenizer."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from pixiu_py.filters.ai.kvcache.calls import Calls, Tries
from pixiu_py.filters.ai.kvcache.poller import may_ask
from pixiu_py.filters.llm.canonical import canonical
from pixiu_py.filters.llm.engine_tokens import Tokenizer, tokenize_request
from pixiu_py.tasks import Tasks
from pixiu_py.upstream.client import CallFailed, Client, Service, base_at

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.filters.ai.kvcache.prompt import Prompt
    from pixiu_py.filters.http.breaker import Limits
    from pixiu_py.observability.metrics import Counter
    from pixiu_py.stores.cache import BoundedMemoryCache

#: What an engine says about a prompt or a model, not about itself.
_FORGIVEN = (400, 404, 413, 422)
#: Engines that are asked for one prompt, one after the other.
_MOST_ASKED = 2
#: Engines whose breakers are kept.
_MOST_KNOWN = 1024
#: Fields that say how to answer, not what is asked. All others may be seen by a chat template.
_IRRELEVANT = frozenset(
    (
        *("best_of", "frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "metadata"),
        *("min_p", "min_tokens", "n", "parallel_tool_calls", "presence_penalty", "repetition_penalty"),
        *("response_format", "seed", "service_tier", "stop", "stop_sequences", "store", "stream", "stream_options"),
        *("temperature", "top_k", "top_logprobs", "top_p", "user"),
    )
)


class Place(NamedTuple):
    """A tokenizer, and the model's name there."""

    service: Service
    model: str


class _Shared:
    """A question under way, and how many wait for its answer."""

    __slots__ = ("task", "waiting")

    def __init__(self, task: asyncio.Task[array[int] | CallFailed | None]) -> None:
        self.task = task
        self.waiting = 0


class TokenSource:
    """Tokens for indexes that need them. ``cache`` None: a prompt is asked for anew, once an equal one has its answer."""

    def __init__(
        self,
        client: Client,
        cache: BoundedMemoryCache | None,
        make_calls: Callable[[], Calls],
        timeout: float,
        seen: Counter,
        tokenizer: str = "",
    ) -> None:
        self._tokenizer = Tokenizer(client)
        self.cache = cache
        self._make_calls = make_calls
        self._timeout = timeout
        #: Looks into the cache by result.
        self._seen = seen
        #: The one tokenizer; None: the engines themselves.
        self._one = base_at(tokenizer) if tokenizer.strip() else None
        self.calls: dict[str, Calls] = {}
        self._turn = 0
        self._tasks = Tasks("tokens of prompts")
        #: By key and patience. Each has somebody who waits for it, so they are no more than requests and jobs.
        self._shared: dict[tuple[str, bool], _Shared] = {}

    async def close(self) -> None:
        """Ask nobody any more."""
        await self._tasks.close()

    async def tokens(
        self, prompt: Prompt, endpoints: Sequence[Endpoint], *, patiently: bool = False
    ) -> Sequence[int] | None:
        """The prompt's tokens; None when it is of a form that no tokenizer takes. Raises ``CallFailed``.

        ``endpoints`` are engines of the prompt's model. The prompt keeps its tokens.
        """
        if prompt.tokens is not None:
            return prompt.tokens
        key = key_of(prompt.document, prompt.model).hex()
        found: Sequence[int] | None = await self.cache.get(key) if self.cache is not None else None
        if self.cache is not None:
            self._seen.inc(("miss" if found is None else "hit",))
        if found is None:
            found = await self._together(key, prompt, endpoints, patiently)
            if found is not None and self.cache is not None:
                await self.cache.set(key, found)
        prompt.tokens = found
        return found

    async def _together(
        self, key: str, prompt: Prompt, endpoints: Sequence[Endpoint], patiently: bool
    ) -> array[int] | None:
        """One question for all equal prompts that want their tokens now. It ends with the last one who waits for it."""
        name = (key, patiently)
        shared = self._shared.get(name)
        if shared is None:
            task = self._tasks.spawn(self._outcome(prompt, endpoints, patiently), "ask")
            shared = self._shared[name] = _Shared(task)
        shared.waiting += 1
        try:
            found = await asyncio.shield(shared.task)
        finally:
            shared.waiting -= 1
            if shared.task.done() or not shared.waiting:
                shared.task.cancel()  # does nothing to one that is done
                if self._shared.get(name) is shared:
                    del self._shared[name]
        if isinstance(found, CallFailed):
            raise found
        return found

    async def _outcome(
        self, prompt: Prompt, endpoints: Sequence[Endpoint], patiently: bool
    ) -> array[int] | CallFailed | None:
        """A failure is an answer as well, for each of those who wait."""
        try:
            return await self._ask(prompt, endpoints, patiently)
        except CallFailed as error:
            return error

    async def _ask(self, prompt: Prompt, endpoints: Sequence[Endpoint], patiently: bool) -> array[int] | None:
        request = tokenize_request(prompt.document, prompt.body)
        if request is None:
            return None
        failed = CallFailed("connect", "no endpoint has a tokenizer")
        for place in self._places(prompt.model, endpoints)[:_MOST_ASKED]:
            calls = self._calls(place.service.url)

            async def call(place: Place = place) -> array[int]:
                return await self._tokenizer.tokens(place.service, request, place.model, self._timeout)

            try:
                return await (calls.patiently(call) if patiently else calls.once(call))
            except CallFailed as error:
                if error.status:  # the next one would say the same
                    raise
                failed = error
        raise failed

    def _places(self, model: str, endpoints: Sequence[Endpoint]) -> list[Place]:
        """Whom to ask, in turn; those whose breaker is open last."""
        engines = [endpoint for endpoint in endpoints if may_ask(endpoint)]
        if self._one is not None:
            name = engines[0].models.get(model, model) if engines else model
            return [Place(self._one, name)]
        self._turn += 1
        start = self._turn % len(engines) if engines else 0
        places = [
            Place(Service(endpoint), endpoint.models.get(model, model))
            for endpoint in (*engines[start:], *engines[:start])
        ]
        return sorted(places, key=lambda place: not self._calls(place.service.url).ready)

    def _calls(self, url: str) -> Calls:
        calls = self.calls.get(url)
        if calls is None:
            if len(self.calls) >= _MOST_KNOWN:
                del self.calls[next(iter(self.calls))]
            calls = self.calls[url] = self._make_calls()
        return calls


def tokenizer_calls(limits: Limits, tries: Tries, clock: Callable[[], float], results: Counter) -> Calls:
    """The guard of one tokenizer."""
    return Calls("tokenize", limits, tries, clock, results, forgiven=_FORGIVEN)


def key_of(document: dict[str, Any], model: str) -> bytes:
    """A hash of all that a chat template can see of a request: of its fields, each with its length in front.

    Fields that are not known count: at worst equal prompts are tokenized twice, and never do different ones share tokens.
    """
    digest = blake2b(digest_size=16)
    fields = {name: _written(value) for name, value in sorted(document.items()) if name not in _IRRELEVANT}
    fields["model"] = model.encode("utf-8", "replace")
    for name, value in fields.items():
        encoded = name.encode("utf-8", "replace")
        digest.update(b"%d:%d:" % (len(encoded), len(value)))
        digest.update(encoded)
        digest.update(value)
    return digest.digest()


def _written(value: Any) -> bytes:
    """JSON with the keys in the client's order, which a template may show; nested too deeply for that, in one of ours."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return canonical(value)


def salt_of(prompt: Prompt) -> str:
    """What keeps this client's cache apart, in vLLM's request; mostly nothing."""
    salt = prompt.document.get("cache_salt")
    return salt if isinstance(salt, str) else ""
