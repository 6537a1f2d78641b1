"""The contract of a ledger: usage is appended and summed up, tariffs begin and end, keys have owners.

A ledger that does not do what it was asked raises ``StoreError``. Times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Protocol

from msgspec import Meta

from pixiu_py.config.types import Duration, Empty, KindRef, Model, doc
from pixiu_py.registry import Family
from pixiu_py.stores.ledger.cost import Tokens
from pixiu_py.stores.ledger.keys import KeyRow
from pixiu_py.stores.ledger.record import UsageRecord
from pixiu_py.stores.ledger.tariff import Tariff, TariffRow

#: What usage can be summed up by. A day is one of UTC, ``2026-01-31``.
Column = Literal["principal", "model", "endpoint", "status", "day"]


class WriterConfig(Model, frozen=True):
    """How usage gets into a ledger."""

    queue_size: Annotated[
        int,
        Meta(
            ge=1, description="Most usage records that wait to be written; what comes above that is lost and counted."
        ),
    ] = 100_000
    batch_size: Annotated[int, Meta(ge=1, le=10_000, description="Most records in one write.")] = 500
    flush_interval: Annotated[
        Duration, Meta(gt=0, description="Longest time a record waits; what a crash of the process can lose.")
    ] = 1.0
    close_timeout: Annotated[
        Duration, Meta(gt=0, description="At the end, how long a ledger that does not answer is waited for.")
    ] = 10.0
    spill: Annotated[
        str, doc("Beside this path goes what cannot be written before the end, for the next start; empty: it is lost.")
    ] = "./usage.spill"
    keep: Annotated[Duration, Meta(ge=0, description="Usage older than this is removed; 0: never.")] = 0.0


#: Keys that every ledger has.
WriterKey = Annotated[WriterConfig, doc("How usage gets into it.")]
RefreshKey = Annotated[
    Duration, Meta(gt=0, description="Tariffs and keys set at the command line hold in a running gateway after this.")
]


class LedgerConfig(Protocol):
    """What the config model of every ledger has."""

    @property
    def writer(self) -> WriterConfig:
        """How usage gets into it."""

    @property
    def refresh(self) -> float:
        """Seconds after which tariffs and keys are read again."""


class UsageQuery(NamedTuple):
    """Which usage to sum up: from ``since``, up to and without ``until``; one sum for each combination of ``by``."""

    since: float = 0.0
    #: None: up to now.
    until: float | None = None
    by: tuple[Column, ...] = ()


class UsageSum(NamedTuple):
    """The usage of one combination."""

    #: Values of the columns of the query, in its order, as text.
    key: tuple[str, ...]
    requests: int
    #: Requests without a cost: no tariff, or one without prices.
    unpriced: int
    tokens: Tokens
    list_cost: Decimal
    charged_cost: Decimal


class Ledger:
    """Base of ledgers."""

    #: The model of its keys beside ``type``; it must have what ``LedgerConfig`` has.
    Config: ClassVar[type[Model]] = Empty

    def __init__(self, config: Any) -> None:
        self.config = config

    async def start(self) -> None:
        """Open it. Raises ``StartError`` for what only another configuration can mend."""

    async def close(self) -> None:
        """Release what ``start`` opened."""

    async def append(self, records: Sequence[UsageRecord]) -> int:
        """Add all of them or none, leaving out those whose id is there already; how many were new."""
        raise NotImplementedError

    async def usage(self, query: UsageQuery) -> list[UsageSum]:
        """Sums, ordered by key. Costs are exact."""
        raise NotImplementedError

    async def prune(self, before: float, limit: int) -> int:
        """Remove up to ``limit`` records of requests that ended before; how many it were."""
        raise NotImplementedError

    async def tariffs(self) -> list[TariffRow]:
        """Every tariff that there ever was, ordered by model, then by time."""
        raise NotImplementedError

    async def set_tariff(self, tariff: Tariff, now: float) -> TariffRow:
        """Let a tariff hold from ``now`` on, and end the one before it, in one step.

        Raises ``StoreError`` when the model's last tariff begins at ``now`` or later: history is not rewritten.
        """
        raise NotImplementedError

    async def disable_tariff(self, model: str, now: float) -> bool:
        """End the model's tariff; False when none holds."""
        raise NotImplementedError

    async def keys(self) -> list[KeyRow]:
        """Every API key that has an owner, ordered by owner, then by digest."""
        raise NotImplementedError

    async def add_key(self, digest: bytes, principal: str, now: float) -> bool:
        """Give a key an owner; False when it is that owner's already. Raises ``StoreError`` when it is another's."""
        raise NotImplementedError

    async def remove_key(self, digest: bytes) -> bool:
        """Forget a key; False when it is not known."""
        raise NotImplementedError


class LedgerRef(KindRef, frozen=True):
    """Where usage is written, and tariffs are kept."""

    family: ClassVar[Family] = Family.LEDGER
