"""What this gateway has given each endpoint to do: the part of its load that needs no measuring, and is never late."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pixiu_py.clusters.endpoint import Endpoint


class Account:
    """One endpoint's tokens: ``pending`` are sent and not answered yet, ``work`` was sent lately and fades."""

    __slots__ = ("_at", "_work", "pending")

    def __init__(self) -> None:
        self.pending = 0.0
        self._work = 0.0
        self._at = 0.0

    def work(self, now: float, memory: float) -> float:
        """Tokens sent lately, those of ``memory`` seconds ago counting a third."""
        return self._work * math.exp((self._at - now) / memory) if self._work else 0.0

    def add_work(self, tokens: float, now: float, memory: float) -> None:
        """Count tokens sent now."""
        self._work = self.work(now, memory) + tokens
        self._at = now


class Ledger:
    """The accounts of the endpoints that are in use; those that have left are closed."""

    def __init__(self) -> None:
        self._accounts: dict[Endpoint, Account] = {}

    def __len__(self) -> int:
        return len(self._accounts)

    def of(self, endpoint: Endpoint) -> Account:
        """An endpoint's account."""
        account = self._accounts.get(endpoint)
        if account is None:
            account = self._accounts[endpoint] = Account()
            self._close_left(endpoint)
        return account

    def _close_left(self, new: Endpoint) -> None:
        for endpoint in [known for known in self._accounts if known.removed and known is not new]:
            del self._accounts[endpoint]

    def all_of(self, endpoints: Sequence[Endpoint]) -> list[Account]:
        """Their accounts, in the same order."""
        return [self.of(endpoint) for endpoint in endpoints]
