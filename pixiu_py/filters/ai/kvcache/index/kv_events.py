"""The ``kv-events`` index: hears from vLLM which blocks it has stored and removed. Needs no cache controller."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from pixiu_py.config.types import Duration, Model, doc
from pixiu_py.filters.ai.kvcache.blocks import BlockIndex
from pixiu_py.filters.ai.kvcache.calls import Calls
from pixiu_py.filters.ai.kvcache.index.base import IndexFailed, KvIndex, Matches
from pixiu_py.filters.ai.kvcache.instances import by_endpoint, instances_of
from pixiu_py.filters.ai.kvcache.subscriber import Subscriber
from pixiu_py.filters.ai.kvcache.tokens import salt_of
from pixiu_py.filters.ai.kvcache.toolbox import Toolbox
from pixiu_py.registry import Family, plugin
from pixiu_py.upstream.client import CallFailed

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.filters.ai.kvcache.config import KvCacheConfig
    from pixiu_py.filters.ai.kvcache.prompt import Prompt
    from pixiu_py.filters.base import Context
    from pixiu_py.observability.metrics import Labels


class KvEventsConfig(Model, frozen=True):
    """Keys of the ``kv-events`` index."""

    bind: Annotated[str, doc("ZeroMQ address to listen at; engines connect to it.")] = "tcp://127.0.0.1:5557"
    topic_prefix: Annotated[str, doc("Beginning of the topics that are heard: kv@<instance>@<model>.")] = "kv@"
    replay: Annotated[
        dict[str, str], doc("Instance → ZeroMQ address where it repeats missed events; absent: a gap forgets it.")
    ] = {}
    replay_timeout: Annotated[Duration, Meta(gt=0, description="How long a replay may take.")] = 5.0
    max_blocks: Annotated[
        int, Meta(ge=1, description="Most blocks that are known, of all engines; what comes above is left out.")
    ] = 1_000_000

    def __post_init__(self) -> None:
        if find_spec("zmq") is None:
            raise ValueError("the kv-events index needs pyzmq: pip install 'pixiu-py[kv-events]'")
        for address in (self.bind, *self.replay.values()):
            if not address.startswith(("tcp://", "ipc://")):
                raise ValueError(f"{address!r} is no ZeroMQ address such as tcp://127.0.0.1:5557")


@plugin(Family.KV_INDEX, "kv-events")
class KvEventsIndex(KvIndex):
    """Hears from vLLM itself which blocks it holds (KV events over ZeroMQ); needs no LMCache."""

    Config: ClassVar[type[KvEventsConfig]] = KvEventsConfig
    config: KvEventsConfig

    def __init__(self, config: KvEventsConfig, settings: KvCacheConfig, context: Context) -> None:
        super().__init__(config, settings, context)
        self.blocks = BlockIndex(config.max_blocks)
        self._tools = Toolbox(settings, context)
        self._tokens = self._tools.token_source()
        metrics = context.metrics
        events = metrics.counter("pixiu_py_kvcache_events_total", "Messages of KV events by result.", ("result",))
        self._left_out = metrics.reading(
            "pixiu_py_kvcache_blocks_left_out_total",
            "Blocks that are not known: orphan, behind a missed one; overflow, above max_blocks.",
            ("reason",),
            "counter",
        )
        self.subscriber = Subscriber(
            self.blocks,
            config.bind,
            config.topic_prefix,
            config.replay,
            events,
            config.replay_timeout,
            context.peers.on_duty if context.peers is not None else None,
        )

    async def start(self) -> None:
        """See ``KvIndex.start``. Raises ``StartError`` when the address cannot be had."""
        self._left_out.add(self._counts)
        self._tools.watch(self._breakers)
        await self.subscriber.start()

    async def close(self) -> None:
        """See ``KvIndex.close``."""
        self._left_out.drop(self._counts)
        await self.subscriber.close()
        await self._tokens.close()
        await self._tools.close()

    async def lookup(self, prompt: Prompt, endpoints: Sequence[Endpoint]) -> Matches:
        """See ``KvIndex.lookup``."""
        if not len(self.blocks):
            return {}
        try:
            tokens = await self._tokens.tokens(prompt, endpoints)
        except CallFailed as error:
            raise IndexFailed(error.kind, str(error)) from error
        if tokens is None:
            return {}
        # The engine's own name of the model tells an adapter from its base; mostly all engines have the same one.
        names: dict[str, list[Endpoint]] = {}
        for endpoint in endpoints:
            names.setdefault(endpoint.models.get(prompt.model, prompt.model), []).append(endpoint)
        found: dict[str, int] = {}
        for name, engines in names.items():
            held = self.blocks.lookup(tokens, name, salt_of(prompt))
            found.update(by_endpoint(held, self.settings.instances, engines))
        return found

    def forget(self, endpoint_id: str) -> None:
        """See ``KvIndex.forget``. If the engine is well after all, its next message leads to a replay."""
        for instance in instances_of(endpoint_id, self.settings.instances):
            self.subscriber.forget(instance)

    @property
    def size(self) -> int:
        """Blocks that are known."""
        return len(self.blocks)

    def _counts(self) -> Iterator[tuple[Labels, float]]:
        yield ("orphan",), self.blocks.orphans
        yield ("overflow",), self.blocks.overflow

    def _breakers(self) -> dict[str, list[Calls]]:
        return {"tokenize": list(self._tokens.calls.values())}
