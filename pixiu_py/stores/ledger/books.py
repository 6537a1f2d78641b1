"""What a filter needs of the books: the tariff of a model, the owner of a key, and a place for what a request used.

A model that the ledger knows is priced by the ledger, also when its tariff there has ended; any other by the
configuration. The ledger's tariffs and keys are read again every ``refresh``; while it cannot be read, the last ones hold.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

import structlog

from pixiu_py.observability.metrics import Metrics
from pixiu_py.stores.base import StoreError
from pixiu_py.stores.ledger.base import Ledger
from pixiu_py.stores.ledger.cost import Tokens
from pixiu_py.stores.ledger.record import Served, usage_record
from pixiu_py.stores.ledger.tariff import Tariff, TariffRow, in_force
from pixiu_py.stores.ledger.writer import UsageWriter
from pixiu_py.tasks import Tasks

log = structlog.get_logger("pixiu_py.stores.ledger")

#: Seconds after which a ledger that could not be read is asked again.
_AGAIN = 5.0


class Books:
    """Tariffs, keys and usage of one filter. Without a ledger, tariffs are the configuration's and usage goes nowhere."""

    def __init__(
        self,
        configured: Sequence[Tariff],
        ledger: Ledger | None,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._configured = {tariff.model: tariff for tariff in configured}
        self._ledger = ledger
        self._known: dict[str, list[TariffRow]] = {}
        #: Digest of a key → its owner.
        self._owners: dict[bytes, str] = {}
        self._tasks = Tasks("books")
        self._writer = UsageWriter(ledger, metrics, clock) if ledger is not None else None
        self._failures = metrics.counter("pixiu_py_ledger_read_failures_total", "Failures to read tariffs and keys.")

    @property
    def keeps_usage(self) -> bool:
        """True when usage is written anywhere."""
        return self._writer is not None

    async def start(self) -> None:
        """Open the ledger and read its tariffs. Raises ``StartError``; a ledger that is only away is no error."""
        if self._ledger is None or self._writer is None:
            return
        await self._ledger.start()
        self._writer.start()
        _ = self._tasks.spawn(self._keep_reading(self._ledger, await self._read(self._ledger)), "tariffs")

    async def close(self) -> None:
        """Write all usage that waits, and close the ledger. Give no more to ``record`` after this."""
        await self._tasks.close()
        if self._writer is not None:
            await self._writer.close()
        if self._ledger is not None:
            await self._ledger.close()

    def tariff(self, model: str, now: float) -> Tariff | None:
        """The tariff that holds for a model; None: it is not cached."""
        rows = self._known.get(model)
        if rows is None:
            return self._configured.get(model)
        row = in_force(rows, model, now)
        return row.tariff if row is not None else None

    def owner(self, digest: bytes) -> str:
        """Whose key it is, as the ledger knows; empty: nobody's. ``digest``: see ``keys.key_digest``."""
        return self._owners.get(digest, "")

    def record(self, served: Served, tokens: Tokens, *, estimated: bool = False) -> None:
        """Take the usage of one completed request, priced by the tariff of its end. Never waits and never fails."""
        if self._writer is not None:
            tariff = self.tariff(served.model, served.time)
            self._writer.add(usage_record(served, tokens, tariff, estimated=estimated))

    async def _keep_reading(self, ledger: Ledger, known: bool) -> None:
        refresh: float = ledger.config.refresh
        while True:
            await asyncio.sleep(refresh if known else min(refresh, _AGAIN))
            known = await self._read(ledger)

    async def _read(self, ledger: Ledger) -> bool:
        try:
            self._known = _by_model(await ledger.tariffs())
            self._owners = {row.digest: row.principal for row in await ledger.keys()}
        except StoreError as error:
            self._failures.inc()
            log.warning("tariffs and keys cannot be read; the last known ones hold", error=str(error))
            return False
        return True


def _by_model(rows: Iterable[TariffRow]) -> dict[str, list[TariffRow]]:
    found: dict[str, list[TariffRow]] = {}
    for row in rows:
        found.setdefault(row.tariff.model, []).append(row)
    return found
