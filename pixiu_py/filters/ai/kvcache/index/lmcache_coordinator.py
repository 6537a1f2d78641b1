"""The ``lmcache-coordinator`` index: asks LMCache's coordinator, the one of the multi-process mode."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

from msgspec import Meta

from pixiu_py.config.types import Model, doc
from pixiu_py.filters.ai.kvcache.calls import Calls
from pixiu_py.filters.ai.kvcache.controller import Held
from pixiu_py.filters.ai.kvcache.coordinator import Coordinator, model_roots
from pixiu_py.filters.ai.kvcache.index.remote import RemoteIndex, longest
from pixiu_py.filters.ai.kvcache.poller import may_ask
from pixiu_py.filters.ai.kvcache.strategy import EVICT, PIN, Decision
from pixiu_py.filters.ai.kvcache.tokens import key_of, salt_of
from pixiu_py.registry import Family, plugin
from pixiu_py.upstream.client import CallFailed, Service, parsed

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.filters.ai.kvcache.config import KvCacheConfig
    from pixiu_py.filters.ai.kvcache.prompt import Prompt
    from pixiu_py.filters.base import Context

#: Engines that are asked for the path of a model, one after the other: not all tell.
_MOST_ASKED = 4
#: Models whose paths are remembered.
_MOST_MODELS = 1024
#: Prompts that eviction can choose from.
_MOST_RECENT = 256

_Positive = Annotated[int, Meta(ge=1)]


class CoordinatorConfig(Model, frozen=True):
    """Keys of the ``lmcache-coordinator`` index."""

    chunk_size: Annotated[_Positive, doc("Tokens of a chunk, as the coordinator was started with.")] = 256
    world_size: Annotated[_Positive, doc("Workers of one engine.")] = 1
    models: Annotated[
        dict[str, str], doc("Model name → the path that its engines were started with; absent: the engines are asked.")
    ] = {}


class _Used(NamedTuple):
    """What eviction has to know of a prompt; its body is not kept."""

    model: str
    salt: str
    tokens: Sequence[int]


@plugin(Family.KV_INDEX, "lmcache-coordinator")
class CoordinatorIndex(RemoteIndex):
    """Asks LMCache's coordinator (the multi-process mode) which cache server holds a prompt's tokens."""

    Config: ClassVar[type[CoordinatorConfig]] = CoordinatorConfig
    config: CoordinatorConfig
    hint = (
        "chunk_size must be the coordinator's, models must name the paths of the engines, instances their cache servers"
    )

    def __init__(self, config: CoordinatorConfig, settings: KvCacheConfig, context: Context) -> None:
        super().__init__(config, settings, context)
        self.chunk = config.chunk_size
        self._coordinator = Coordinator(
            self._tools.client, settings.lmcache_endpoint.strip(), chunk=config.chunk_size, world_size=config.world_size
        )
        self._operations = {kind: self._tools.calls(kind, may_repeat=False) for kind in (PIN, EVICT)}
        self._roots: dict[str, str] = dict(config.models)
        #: Prompts that were looked up lately, the one unused longest first: that is what eviction is about.
        self._recent: OrderedDict[bytes, _Used] = OrderedDict()

    async def _ask(self, tokens: Sequence[int], prompt: Prompt, endpoints: Sequence[Endpoint]) -> dict[str, Held]:
        root = await self._root(prompt.model, endpoints)
        if self._rules.evict:
            self._remember(prompt, tokens)
        return await self._coordinator.lookup(tokens, root, self._tools.timeout, salt_of(prompt))

    def _remember(self, prompt: Prompt, tokens: Sequence[int]) -> None:
        key = key_of(prompt.document, prompt.model)
        self._recent[key] = _Used(prompt.model, salt_of(prompt), tokens)
        self._recent.move_to_end(key)
        if len(self._recent) > _MOST_RECENT:
            self._recent.popitem(last=False)

    async def _root(self, model: str, endpoints: Sequence[Endpoint]) -> str:
        """The path that engines of the model were started with: configured, or as one of them says. Raises ``CallFailed``."""
        root = self._roots.get(model)
        if root is not None:
            return root
        failed = CallFailed("connect", "no endpoint tells the path of the model")
        for engine in [endpoint for endpoint in endpoints if may_ask(endpoint)][:_MOST_ASKED]:
            name = engine.models.get(model, model)
            try:
                roots = await self._roots_of(engine)
            except CallFailed as error:
                failed = error
                continue
            if name in roots:
                if len(self._roots) < _MOST_MODELS:
                    self._roots[model] = roots[name]
                return roots[name]
            failed = CallFailed("answer", f"the engine does not tell the path of {name!r}")
        raise failed

    async def _roots_of(self, engine: Endpoint) -> dict[str, str]:
        return model_roots(parsed(await self._tools.client.get(Service(engine), "/v1/models", self._tools.timeout)))

    async def _carry_out(
        self, decision: Decision, tokens: Sequence[int], prompt: Prompt, endpoint: Endpoint, held: Mapping[str, Held]
    ) -> int | None:
        if decision.operation == EVICT:
            return await self._evict(prompt, endpoint)
        root = await self._root(prompt.model, [endpoint])
        pin = partial(self._coordinator.pin, tokens, root, self._tools.timeout, salt_of(prompt))
        return await self._operations[PIN].patiently(pin)

    async def _evict(self, prompt: Prompt, endpoint: Endpoint) -> int | None:
        """Drop the prompt that was unused longest: not the one that has just been asked for."""
        key = next(iter(self._recent), None)
        if key is None or key == key_of(prompt.document, prompt.model):  # None: others that evict have taken them all
            return None
        model, salt, tokens = self._recent.pop(key)
        root, timeout = await self._root(model, [endpoint]), self._tools.timeout
        instance = self.settings.cache_strategy.evict_instance_id
        if not instance:
            found = longest(
                await self._lookups.patiently(partial(self._coordinator.lookup, tokens, root, timeout, salt))
            )
            if found is None:
                return 0
            instance = found[0]
        delete = partial(self._coordinator.delete, tokens, root, instance, timeout, salt)
        return await self._operations[EVICT].patiently(delete)

    def _breakers(self) -> dict[str, list[Calls]]:
        return {**super()._breakers(), **{kind: [calls] for kind, calls in self._operations.items()}}
