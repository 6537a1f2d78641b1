"""Whether a conversation may leave its model: what that loses in prompt cache is held against what the cache saves.

As long as a conversation stays, each of its prompts is read from its model's cache. What that would cost in all at the model
on which it began is the baseline. Going elsewhere means reading the whole prompt anew; what that costs above staying is the
spend. It may go as long as the spend stays below a share of the baseline. So a conversation is free to move when it has
lasted, and held when moving would cost more than it has ever saved.

Pure: every function takes the time. Amounts are USD, times Unix seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pixiu_py.filters.llm.router.affinity import Pin
from pixiu_py.filters.llm.router.prices import Rates
from pixiu_py.filters.llm.router.session_binding import Binding, Visit, visited

#: A model's rates; None: not known.
RatesOf = Callable[[str], Rates | None]
#: Why a conversation stays or goes.
Reason = Literal["new", "cold", "same", "free", "within", "above", "no_price"]
_MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Rules:
    """What an operator has set."""

    #: Of the baseline, how much may be spent: 0 to 1.
    share: float
    #: Seconds for which a provider keeps a prompt in its cache.
    window: float
    #: Of a model's input rate, its cached rate when that is not known.
    discount: float
    #: A conversation whose cache has gone begins to count anew.
    replenish: bool


class Turn(NamedTuple):
    """What one request adds to a binding, whatever others have made of it meanwhile."""

    pin: Pin
    now: float
    window: float
    replenish: bool
    baseline: float = 0.0
    spend: float = 0.0

    def onto(self, current: Binding | None) -> Binding:
        """The binding after this request."""
        model, route = self.pin.model, self.pin.route
        old = current.visit(model) if current is not None else None
        visit = Visit(model, self.now, old.cached_tokens if old is not None else 0)
        if current is None:
            return Binding(model, route, self.now, model, visits=(visit,))
        if not is_warm(current, self.now, self.window):
            kept = current if not self.replenish else Binding(model, route)
            return Binding(
                model, route, self.now, model, kept.baseline_usd, kept.switch_spend_usd, kept.switches, (visit,)
            )
        return Binding(
            model,
            route,
            max(current.last_used, self.now),
            current.default_model or current.model_name,
            current.baseline_usd + self.baseline,
            current.switch_spend_usd + self.spend,
            current.switches + (model != current.model_name),
            visited(current.visits, visit),
        )


class Read(NamedTuple):
    """What an answer told of its prompt."""

    model: str
    tokens: int
    now: float

    def onto(self, current: Binding | None) -> Binding | None:
        """The binding with it; None when there is none any more."""
        if current is None:
            return None
        visit = Visit(self.model, self.now, self.tokens)
        return Binding(
            current.model_name,
            current.route_name,
            max(current.last_used, self.now),
            current.default_model,
            current.baseline_usd,
            current.switch_spend_usd,
            current.switches,
            visited(current.visits, visit),
        )


class Ruling(NamedTuple):
    """What is decided for one request."""

    pin: Pin
    #: The conversation is known, and its cache should be there.
    warm: bool
    switched: bool
    reason: Reason
    turn: Turn


def is_warm(binding: Binding, now: float, window: float) -> bool:
    """True when its model's cache should still hold it."""
    return now - binding.last_used <= window


def rule(binding: Binding | None, candidate: Pin, estimate: int, rates_of: RatesOf, rules: Rules, now: float) -> Ruling:
    """Whether a conversation goes to ``candidate``. ``estimate``: tokens of this prompt, for want of a count."""
    turn = Turn(candidate, now, rules.window, rules.replenish)
    if binding is None or not is_warm(binding, now, rules.window):
        return Ruling(candidate, False, False, "new" if binding is None else "cold", turn)
    tokens = _context(binding, estimate)
    saved = _baseline(binding, tokens, rates_of, rules)
    turn = turn._replace(baseline=saved)
    if candidate.model == binding.model_name:
        return Ruling(candidate, True, False, "same", turn)
    cost = switch_cost(binding, candidate.model, tokens, rates_of, rules, now)
    if cost is None:
        return Ruling(candidate, True, True, "no_price", turn)
    if cost <= 0:
        return Ruling(candidate, True, True, "free", turn)
    if binding.switch_spend_usd + cost <= rules.share * (binding.baseline_usd + saved):
        return Ruling(candidate, True, True, "within", turn._replace(spend=cost))
    stays = Pin(binding.model_name, binding.route_name)
    return Ruling(stays, True, False, "above", turn._replace(pin=stays))


def switch_cost(
    binding: Binding, candidate: str, tokens: int, rates_of: RatesOf, rules: Rules, now: float
) -> float | None:
    """What a prompt of ``tokens`` costs at ``candidate`` above its cost in the present model's cache; None: not known.

    What ``candidate`` has read on an earlier visit, and may still have in its cache, is not read anew.
    """
    rates, present = rates_of(candidate), rates_of(binding.model_name)
    if rates is None or present is None:
        return None
    visit = binding.visit(candidate)
    known = visit.cached_tokens if visit is not None and now - visit.last_used <= rules.window else 0
    known = min(known, tokens)
    cost = (tokens - known) * rates.input + known * rates.cached(rules.discount)
    return (cost - tokens * present.cached(rules.discount)) / _MILLION


def _context(binding: Binding, estimate: int) -> int:
    """Tokens of the conversation: those of the latest prompt, if they were counted."""
    visit = binding.visit(binding.model_name)
    return (visit.cached_tokens if visit is not None else 0) or estimate


def _baseline(binding: Binding, tokens: int, rates_of: RatesOf, rules: Rules) -> float:
    rates = rates_of(binding.default_model or binding.model_name)
    return 0.0 if rates is None else tokens * rates.cached(rules.discount) / _MILLION
