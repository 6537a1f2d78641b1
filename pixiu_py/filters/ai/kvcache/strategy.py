"""What to ask of the cache controller after a request: compress, pin, evict, or nothing. Pure: readings are arguments.

    compress   the engines' load has reached ``load_threshold``                          (high_load)
    pin        the prompt was used ``hot_content_threshold`` times within the window     (hot_content)
    evict      the engines' caches have reached ``memory_threshold``                     (memory_threshold)

Carried out in this order. Each is asked for once per prompt and window, not at every request for as long as a condition
lasts. A prompt that is to be pinned is not evicted.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, NamedTuple

COMPRESS: Final = "compress"
PIN: Final = "pin"
EVICT: Final = "evict"


@dataclass(frozen=True, slots=True)
class Rules:
    """The conditions; 0 switches one off."""

    #: Ratios, 0 to 1.
    load: float = 0.0
    memory: float = 0.0
    #: Uses within the window.
    hot: int = 0
    compress: bool = False
    pin: bool = False
    evict: bool = False

    @property
    def wanted(self) -> bool:
        """True when there is anything that could ever be asked for."""
        return bool((self.compress and self.load) or (self.pin and self.hot) or (self.evict and self.memory))


class Decision(NamedTuple):
    """An operation, and why."""

    operation: str
    reason: str


def decide(rules: Rules, load: float, memory: float, uses: int) -> tuple[Decision, ...]:
    """What to do, given the load and the cache usage of the engines (0 to 1) and how often the prompt was used."""
    decisions = []
    if rules.compress and rules.load and load >= rules.load:
        decisions.append(Decision(COMPRESS, "high_load"))
    pins = rules.pin and rules.hot and uses >= rules.hot
    if pins:
        decisions.append(Decision(PIN, "hot_content"))
    if rules.evict and rules.memory and memory >= rules.memory and not pins:
        decisions.append(Decision(EVICT, "memory_threshold"))
    return tuple(decisions)


class Done:
    """What was asked for lately, so that it is not asked for again: at most ``most`` entries, for ``seconds`` each."""

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._at: OrderedDict[tuple[str, bytes], float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._at)

    def first(self, operation: str, key: bytes, now: float) -> bool:
        """True when this was not asked for within the time; it is from now on."""
        entry = operation, key
        while self._at and now - next(iter(self._at.values())) > self._seconds:
            self._at.popitem(last=False)
        if entry in self._at:
            return False
        self._at[entry] = now
        if len(self._at) > self._most:
            self._at.popitem(last=False)
        return True

    def undo(self, operation: str, key: bytes) -> None:
        """It came to nothing: it may be asked for again."""
        self._at.pop((operation, key), None)
