"""The ``lmcache`` index: asks LMCache's controller, the one of the in-process mode."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar

from pixiu_py.config.types import Model, doc
from pixiu_py.filters.ai.kvcache.calls import Calls
from pixiu_py.filters.ai.kvcache.controller import CHUNK, Controller, Held
from pixiu_py.filters.ai.kvcache.index.remote import RemoteIndex, log, longest
from pixiu_py.filters.ai.kvcache.strategy import COMPRESS, EVICT, PIN, Decision
from pixiu_py.registry import Family, plugin

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.filters.ai.kvcache.config import KvCacheConfig
    from pixiu_py.filters.ai.kvcache.prompt import Prompt
    from pixiu_py.filters.base import Context


class LmcacheConfig(Model, frozen=True):
    """Keys of the ``lmcache`` index."""

    evict_location: Annotated[str, doc("What eviction clears in evict_instance_id: all of this location.")] = (
        "LocalCPUBackend"
    )


@plugin(Family.KV_INDEX, "lmcache")
class LmcacheIndex(RemoteIndex):
    """Asks LMCache's controller (the in-process mode) which instance holds a prompt's tokens."""

    Config: ClassVar[type[LmcacheConfig]] = LmcacheConfig
    config: LmcacheConfig
    chunk = CHUNK
    hint = "controller and engines need the same PYTHONHASHSEED and the same environment, and chunks of 256 tokens"

    def __init__(self, config: LmcacheConfig, settings: KvCacheConfig, context: Context) -> None:
        super().__init__(config, settings, context)
        self._controller = Controller(self._tools.client, settings.lmcache_endpoint.strip())
        self._operations = {kind: self._tools.calls(kind, may_repeat=False) for kind in (COMPRESS, PIN, EVICT)}
        strategy = settings.cache_strategy
        if strategy.enable_compression and strategy.compress_method != "cachegen":
            log.warning(
                "LMCache compresses with cachegen only; other methods do nothing", method=strategy.compress_method
            )

    def _ask(self, tokens: Sequence[int], prompt: Prompt, endpoints: Sequence[Endpoint]) -> Awaitable[dict[str, Held]]:
        return self._controller.lookup(tokens, self._tools.timeout)

    async def _carry_out(
        self, decision: Decision, tokens: Sequence[int], prompt: Prompt, endpoint: Endpoint, held: Mapping[str, Held]
    ) -> int | None:
        strategy = self.settings.cache_strategy
        calls = self._operations[decision.operation]
        clear = self._controller.clear
        timeout = self._tools.timeout
        if decision.operation == EVICT:
            return await calls.patiently(
                partial(clear, strategy.evict_instance_id, self.config.evict_location, timeout)
            )
        pins = decision.operation == PIN
        found = self._where(
            strategy.pin_instance_id if pins else strategy.compress_instance_id,
            strategy.pin_location if pins else strategy.compress_location,
            held,
        )
        if found is None:
            return None
        if pins:
            return await calls.patiently(partial(self._controller.pin, tokens, *found, timeout))
        return await calls.patiently(
            partial(self._controller.compress, tokens, *found, strategy.compress_method, timeout)
        )

    def _where(self, instance: str, location: str, held: Mapping[str, Held]) -> tuple[str, str] | None:
        """Instance and location: the configured ones, else those of the lookup's longest answer; None for neither."""
        best = longest(held) if not instance else (instance, held.get(instance, Held(0)))
        if best is None:
            return None
        name, what = best
        place = location or what.location
        return (name, place) if name and place else None

    def _target(self, decision: Decision, key: bytes) -> bytes:
        """A location is cleared once for all prompts."""
        return b"" if decision.operation == EVICT else key

    def _breakers(self) -> dict[str, list[Calls]]:
        return {**super()._breakers(), **{kind: [calls] for kind, calls in self._operations.items()}}
