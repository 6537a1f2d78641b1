"""One request's way from the matches of the index to an order of endpoints; and why it came out so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pixiu_py.filters.ai.kvcache import score
from pixiu_py.filters.ai.kvcache.ledger import Ledger
from pixiu_py.filters.ai.kvcache.score import Facts
from pixiu_py.upstream.order import first_available

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.filters.ai.kvcache.config import KvCacheConfig
    from pixiu_py.filters.ai.kvcache.index.base import KvIndex, Matches
    from pixiu_py.filters.ai.kvcache.ledger import Account
    from pixiu_py.filters.ai.kvcache.load import Board
    from pixiu_py.filters.ai.kvcache.prompt import Prompt
    from pixiu_py.http.exchange import Exchange

#: Endpoints that an explanation names.
_SHOWN = 8


class Scorer:
    """Gathers the facts of endpoints, and puts them in order. One for all requests of a filter."""

    def __init__(self, config: KvCacheConfig, board: Board, clock: Callable[[], float], index: KvIndex) -> None:
        self.config = config
        self.weights = config.score
        self.ledger = Ledger(config.score.work_memory)
        self.clock = clock
        self.index = index
        #: Whether a prompt that nobody holds is placed by the score, not by the balancer.
        self.places_cold = config.score.cold == "score" or bool(config.spill.endpoints)
        self._board = board
        self._spill = frozenset(config.spill.endpoints)
        self._turn = 0

    def facts(self, endpoints: Sequence[Endpoint], matches: Matches) -> list[Facts]:
        """What is known of each endpoint now."""
        now = self.clock()
        ledger = self.ledger
        scale = ledger.scale(now)
        found = []
        for endpoint in endpoints:
            account = ledger.of(endpoint)
            load = self._board.get(endpoint, now)
            waiting, usage = (load.waiting, load.cache_usage or 0.0) if load is not None else (0, 0.0)
            matched = matches.get(endpoint.id, 0)
            found.append(Facts(matched, account.pending, endpoint.in_flight, account.work * scale, waiting, usage))
        return found

    def order(self, endpoints: Sequence[Endpoint], facts: Sequence[Facts], costs: Sequence[float]) -> list[Endpoint]:
        """Best first. Those to spill to come last, or first when all the others are saturated."""
        self._turn += 1
        ranked = [endpoints[position] for position in score.order(costs, self._turn)]
        if not self._spill:
            return ranked
        own = [endpoint for endpoint in ranked if endpoint.id not in self._spill]
        others = [endpoint for endpoint in ranked if endpoint.id in self._spill]
        pairs = zip(endpoints, facts, strict=True)
        free = any(endpoint.id not in self._spill and not self._saturated(fact) for endpoint, fact in pairs)
        return own + others if free else others + own

    def _saturated(self, fact: Facts) -> bool:
        spill = self.config.spill
        return fact.waiting >= spill.waiting or 0 < spill.in_flight <= fact.in_flight


class Routing:
    """What has been found out about one request, and what has been charged to an endpoint for it."""

    __slots__ = (
        "_account",
        "_charged",
        "_costs",
        "_endpoints",
        "_facts",
        "_order",
        "_scorer",
        "_sent",
        "matches",
        "prompt",
        "result",
        "shared",
    )

    def __init__(self, scorer: Scorer, prompt: Prompt, matches: Matches, result: str) -> None:
        self._scorer = scorer
        self.prompt = prompt
        self.matches = matches
        self.result = result
        #: Whether other requests that are not answered yet have the matched prefix.
        self.shared = self._is_shared()
        self._endpoints: Sequence[Endpoint] = ()
        self._facts: Sequence[Facts] = ()
        self._costs: Sequence[float] = ()
        self._order: list[Endpoint] = []
        #: The endpoint that is charged for it, if any, and for how many tokens.
        self._sent: Endpoint | None = None
        self._account: Account | None = None
        self._charged = 0

    def _is_shared(self) -> bool:
        chunks = self.prompt.chunks_of(max(self.matches.values(), default=0))
        return chunks > 0 and self._scorer.ledger.shared(self.prompt.keys[chunks - 1])

    def place(self, endpoints: Sequence[Endpoint]) -> Endpoint | None:
        """Put ``endpoints`` in order, and charge the one that will be tried; None: the balancer chooses."""
        self._take_back()
        scorer = self._scorer
        self._endpoints = endpoints
        if self.result != "hit" and not scorer.places_cold:
            self._order = []
            return None
        length = self.prompt.length
        self._facts = facts = scorer.facts(endpoints, self.matches)
        self._costs = costs = score.costs(length, facts, scorer.weights, shared=self.shared)
        self._order = order = scorer.order(endpoints, facts, costs)
        now = scorer.clock()
        first = first_available(order, now)
        if first is not None:
            self._charge(first, max(length - self.matches.get(first.id, 0), 0), now)
        return first

    def rank(self, endpoints: Sequence[Endpoint]) -> Sequence[Endpoint]:
        """See ``plan.Rank``: the order made when the request came, and a fresh one for what is left after a failure."""
        if len(endpoints) != len(self._endpoints) or any(
            one is not other for one, other in zip(endpoints, self._endpoints, strict=True)
        ):
            self.place(endpoints)
        return self._order

    def answered(self, endpoint: Endpoint | None, model: str = "") -> None:
        """``endpoint`` has begun a good answer, or nobody has (None): the queue it stood in is shorter again."""
        sent = self._sent
        if endpoint is not None and endpoint is sent:
            self._release()
        else:
            self._take_back()
        if endpoint is not None:
            self._scorer.index.routed(self.prompt.under(model), endpoint)

    def over(self) -> None:
        """The exchange has ended. If nobody had answered by then, it is not known what became of it."""
        self._release()

    def _charge(self, endpoint: Endpoint, tokens: int, now: float) -> None:
        scorer = self._scorer
        ledger = scorer.ledger
        self._sent = endpoint
        self._charged = tokens
        self._account = account = ledger.of(endpoint)
        account.pending += tokens
        ledger.add_work(account, tokens + scorer.weights.request_work, now)
        ledger.begin(self.prompt.keys)
        self.prompt.expected = self.prompt.chunks_of(self.matches.get(endpoint.id, 0))
        scorer.index.sent(self.prompt, endpoint)

    def _release(self) -> None:
        account, self._account = self._account, None
        if account is not None:
            account.pending = max(account.pending - self._charged, 0.0)
            self._scorer.ledger.end(self.prompt.keys)
        self._sent = None

    def _take_back(self) -> None:
        sent = self._sent
        self._release()
        if sent is not None:
            self._scorer.index.failed(self.prompt, sent)

    # --- why -------------------------------------------------------------------------------------------------------

    def explained(self, kind: str, exchange: Exchange) -> str:
        """Why, in one line: index, result, choice, and what was known of each endpoint."""
        served = exchange.endpoint.id if exchange.endpoint is not None else "none"
        return f"index={kind}; result={self.result}; choice={served}; {self!r}"

    def __repr__(self) -> str:
        parts = [f"tokens={self.prompt.length}"]
        if self.shared:
            parts.append("shared")
        known = list(zip(self._endpoints, self._facts, self._costs, strict=False))
        for endpoint, fact, cost in known[:_SHOWN]:
            parts.append(
                f"{endpoint.id}(matched={fact.matched} pending={fact.pending:.0f} in_flight={fact.in_flight} "
                f"waiting={fact.waiting} usage={fact.usage:.2f} work={fact.work:.0f} cost={cost:.0f})"
            )
        if len(known) > _SHOWN:
            parts.append(f"and {len(known) - _SHOWN} more")
        return "; ".join(parts)
