"""How often a prompt was used lately. Pure: time is an argument."""

from __future__ import annotations

from collections import OrderedDict, deque


class HotWindow:
    """Uses of each key within the last ``window`` seconds: ``max_records`` of a key at most, and ``max_keys`` keys."""

    def __init__(self, window: float, max_records: int, max_keys: int) -> None:
        self._window = window
        self._max_records = max_records
        self._max_keys = max_keys
        #: In order of their last use, the one unused longest first.
        self._uses: OrderedDict[bytes, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._uses)

    def record(self, key: bytes, now: float) -> int:
        """Count a use; returns how many there are within the window, this one included."""
        uses = self._uses.get(key)
        if uses is None:
            uses = self._uses[key] = deque(maxlen=self._max_records)
        uses.append(now)
        self._uses.move_to_end(key)
        self._drop(now)
        return self._count(uses, now)

    def uses(self, key: bytes, now: float) -> int:
        """How many uses there are within the window."""
        uses = self._uses.get(key)
        return self._count(uses, now) if uses is not None else 0

    def _count(self, uses: deque[float], now: float) -> int:
        while uses and now - uses[0] > self._window:
            uses.popleft()
        return len(uses)

    def _drop(self, now: float) -> None:
        while self._uses:
            uses = next(iter(self._uses.values()))
            if len(self._uses) <= self._max_keys and uses and now - uses[-1] <= self._window:
                return
            self._uses.popitem(last=False)
