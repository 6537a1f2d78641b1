"""What this gateway has given each endpoint to do: the part of its load that needs no measuring, and is never late."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pixiu_py.clusters.endpoint import Endpoint

#: Exponent above which the scale of the work is renewed.
_LARGE = 50.0


class Account:
    """One endpoint's tokens: ``pending`` are sent and not answered yet, ``work`` was sent lately, on the ledger's scale."""

    __slots__ = ("pending", "work")

    def __init__(self) -> None:
        self.pending = 0.0
        self.work = 0.0


class Ledger:
    """The accounts of the endpoints that are in use, and the prefixes of what is not answered yet.

    Work fades: what was sent ``memory`` seconds ago counts a third. Instead of shrinking all accounts, the scale on which
    new work is added grows, and is renewed before it becomes too large.
    """

    def __init__(self, memory: float) -> None:
        self._memory = memory
        self._accounts: dict[Endpoint, Account] = {}
        self._origin = 0.0
        #: Key of a chunk → how many requests that are not answered yet have it.
        self._prefixes: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._accounts)

    @property
    def prefixes(self) -> int:
        """Chunks of prompts that are not answered yet."""
        return len(self._prefixes)

    def of(self, endpoint: Endpoint) -> Account:
        """An endpoint's account."""
        account = self._accounts.get(endpoint)
        if account is None:
            account = self._accounts[endpoint] = Account()
            self._close_left(endpoint)
        return account

    def scale(self, now: float) -> float:
        """What ``work`` has to be multiplied with at ``now`` to give tokens."""
        return math.exp((self._origin - now) / self._memory)

    def add_work(self, account: Account, tokens: float, now: float) -> None:
        """Count tokens sent now."""
        if now - self._origin > _LARGE * self._memory:
            scale = self.scale(now)
            for each in self._accounts.values():
                each.work *= scale
            self._origin = now
        account.work += tokens / self.scale(now)

    def begin(self, keys: Sequence[bytes]) -> None:
        """A prompt with these chunks is on its way."""
        prefixes = self._prefixes
        for key in keys:
            prefixes[key] = prefixes.get(key, 0) + 1

    def end(self, keys: Sequence[bytes]) -> None:
        """It is answered, or will not be."""
        prefixes = self._prefixes
        for key in keys:
            left = prefixes[key] - 1
            if left:
                prefixes[key] = left
            else:
                del prefixes[key]

    def shared(self, key: bytes) -> bool:
        """True when a prompt that is not answered yet has this chunk."""
        return key in self._prefixes

    def _close_left(self, new: Endpoint) -> None:
        for endpoint in [known for known in self._accounts if known.removed and known is not new]:
            del self._accounts[endpoint]
