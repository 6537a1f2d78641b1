"""When an endpoint may be asked again: one clock for failures and for ``Retry-After``.

Pure: time is an argument, in seconds of any monotonic clock. States, as a request sees them:

    ready ──(threshold failures)──► cooling ──(time is up)──► trial ──success──► ready
      ▲                                ▲                        │
      └────────────success─────────────┴───────failure──────────┘

A rest is what a 429 asks for: it has an end but is no failure, so it counts towards no threshold and needs no trial.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum


class State(Enum):
    """What may be done with an endpoint now."""

    READY = "ready"
    COOLING = "cooling"
    TRIAL = "trial"  # one request may go, to see whether it is well again
    RESTING = "resting"


class Cooldown:
    """The clock of one endpoint."""

    __slots__ = ("failures", "reason", "resting_until", "seconds", "tell", "threshold", "trial_until", "until")

    def __init__(self, seconds: float, threshold: int) -> None:
        #: Length of a cooldown; 0 turns cooldowns off. Rests are honoured either way.
        self.seconds = seconds
        #: Consecutive failures that start a cooldown.
        self.threshold = threshold
        self.failures = 0
        self.until = 0.0
        self.resting_until = 0.0
        #: While a trial request is out, others stay away until this time.
        self.trial_until = 0.0
        #: Kind of the failure that started the cooldown, for those who ask.
        self.reason = ""
        #: Called when it has changed so that others who use the endpoint should know; never while it is untroubled.
        self.tell: Callable[[Cooldown], None] | None = None

    @property
    def untroubled(self) -> bool:
        """True when nothing is held against the endpoint: the one test a healthy endpoint costs."""
        return not self.failures and not self.resting_until

    def state(self, now: float) -> State:
        """What may be done at ``now``."""
        if self.resting_until > now:
            return State.RESTING
        if not self.until:
            return State.READY
        if self.until > now or self.trial_until > now:
            return State.COOLING
        return State.TRIAL

    def available(self, now: float) -> bool:
        """True when a request may be sent at ``now``."""
        return self.untroubled or self.state(now) in (State.READY, State.TRIAL)

    def begin(self, now: float) -> None:
        """A request is being sent. If it is the trial, others stay away for another cooldown or until it has ended."""
        if self.until and self.state(now) is State.TRIAL:
            self.trial_until = now + self.seconds
            self._told()

    def succeeded(self, now: float) -> None:
        """The endpoint answered well: its failures are forgiven.

        A rest goes on to its end: the answer may be to a request that was sent before the endpoint asked for the rest.
        """
        cooled = self.until
        self.failures = 0
        self.until = self.trial_until = 0.0
        self.reason = ""
        if self.resting_until <= now:
            self.resting_until = 0.0
        if cooled:
            self._told()

    def failed(self, now: float, reason: str = "") -> None:
        """The endpoint failed. Starts a cooldown at the threshold, and again when a trial failed."""
        self.failures += 1
        self.trial_until = 0.0
        if self.seconds and self.failures >= self.threshold:
            self.until = now + self.seconds
            self.reason = reason
            self._told()

    def rest(self, now: float, seconds: float) -> None:
        """The endpoint asked for a pause of ``seconds``. Never shortens a pause that is under way."""
        self.trial_until = 0.0
        self.resting_until = max(self.resting_until, now + seconds)
        self._told()

    def released(self) -> None:
        """The request told nothing about the endpoint (the client went away): its trial may be repeated."""
        if self.trial_until:
            self.trial_until = 0.0
            self._told()

    def adopt(self, until: float, trial_until: float, resting_until: float, reason: str) -> None:
        """Another process that uses the endpoint tells how it stands there. It is not told back.

        The latest word about failures counts; of two rests, the longer one. Failures below the threshold are each one's own.
        """
        if until:
            self.failures = max(self.failures, self.threshold)
        elif self.until:
            self.failures = 0
        self.until = until
        self.trial_until = trial_until
        self.resting_until = max(self.resting_until, resting_until)
        self.reason = reason

    def _told(self) -> None:
        if self.tell is not None:
            self.tell(self)

    def ends(self) -> float:
        """The time from which a request may be sent; not after now when one may already."""
        return max(self.until, self.trial_until, self.resting_until)

    def __repr__(self) -> str:
        return f"<Cooldown failures={self.failures}/{self.threshold} until={self.until} resting={self.resting_until}>"
