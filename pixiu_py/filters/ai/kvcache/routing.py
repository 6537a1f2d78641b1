"""One request's way from the matches of the index to an order of endpoints; and why it came out so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pixiu_py.filters.ai.kvcache import score
from pixiu_py.filters.ai.kvcache.score import Facts
from pixiu_py.upstream.order import first_available

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.filters.ai.kvcache.config import KvCacheConfig
    from pixiu_py.filters.ai.kvcache.index.base import Matches
    from pixiu_py.filters.ai.kvcache.ledger import Account, Ledger
    from pixiu_py.filters.ai.kvcache.load import Board
    from pixiu_py.filters.ai.kvcache.prompt import Prompt
    from pixiu_py.http.exchange import Exchange

#: Endpoints that an explanation names.
_SHOWN = 8


class Scorer:
    """Gathers the facts of endpoints, and puts them in order."""

    def __init__(self, config: KvCacheConfig, ledger: Ledger, board: Board, clock: Callable[[], float]) -> None:
        self.config = config
        self.ledger = ledger
        self.clock = clock
        self._board = board
        self._spill = frozenset(config.spill.endpoints)
        self._turn = 0

    def facts(self, endpoints: Sequence[Endpoint], matches: Matches) -> list[Facts]:
        """What is known of each endpoint now."""
        now = self.clock()
        memory = self.config.score.work_memory
        found = []
        for endpoint, account in zip(endpoints, self.ledger.all_of(endpoints), strict=True):
            load = self._board.get(endpoint, now)
            found.append(
                Facts(
                    matched=matches.get(endpoint.id, 0),
                    pending=account.pending,
                    in_flight=endpoint.in_flight,
                    work=account.work(now, memory),
                    waiting=load.waiting if load is not None else 0,
                    usage=load.cache_usage or 0.0 if load is not None else 0.0,
                )
            )
        return found

    def order(self, length: int, endpoints: Sequence[Endpoint], facts: Sequence[Facts]) -> list[Endpoint]:
        """Best first. Those to spill to come last, or first when all the others are saturated."""
        self._turn += 1
        ranked = [endpoints[position] for position in score.order(length, facts, self.config.score, self._turn)]
        if not self._spill:
            return ranked
        own = [endpoint for endpoint in ranked if endpoint.id not in self._spill]
        others = [endpoint for endpoint in ranked if endpoint.id in self._spill]
        limit = self.config.spill.waiting
        free = any(
            fact.waiting < limit
            for endpoint, fact in zip(endpoints, facts, strict=True)
            if endpoint.id not in self._spill
        )
        return own + others if free else others + own

    def places_cold(self) -> bool:
        """Whether a prompt that nobody holds is placed here, not by the balancer."""
        return self.config.score.cold == "score" or bool(self._spill)


class Routing:
    """What has been found out about one request, and what has been charged to an endpoint for it."""

    __slots__ = ("_account", "_charged", "_facts", "_order", "_scorer", "endpoints", "matches", "prompt", "result")

    def __init__(self, scorer: Scorer, prompt: Prompt, matches: Matches, result: str) -> None:
        self._scorer = scorer
        self.prompt = prompt
        self.matches = matches
        self.result = result
        self.endpoints: Sequence[Endpoint] = ()
        self._facts: Sequence[Facts] = ()
        self._order: list[Endpoint] = []
        self._account: Account | None = None
        self._charged = 0

    def place(self, endpoints: Sequence[Endpoint]) -> Endpoint | None:
        """Put ``endpoints`` in order, and charge the one that will be tried for its work; None: the balancer chooses."""
        self._release()
        scorer = self._scorer
        self.endpoints = endpoints
        self._facts = facts = scorer.facts(endpoints, self.matches)
        if self.result != "hit" and not scorer.places_cold():
            self._order = []
            return None
        length = self.prompt.length
        self._order = order = scorer.order(length, endpoints, facts)
        now = scorer.clock()
        first = first_available(order, now)
        if first is not None:
            self._charged = max(length - self.matches.get(first.id, 0), 0)
            self._account = account = scorer.ledger.of(first)
            account.pending += self._charged
            account.add_work(self._charged, now, scorer.config.score.work_memory)
        return first

    def rank(self, endpoints: Sequence[Endpoint]) -> Sequence[Endpoint]:
        """See ``plan.Rank``: the order made when the request came, and a fresh one for what is left after a failure."""
        if len(endpoints) != len(self.endpoints) or any(
            one is not other for one, other in zip(endpoints, self.endpoints, strict=True)
        ):
            self.place(endpoints)
        return self._order

    def answered(self) -> None:
        """The endpoint has begun to answer, or nobody will: its queue is shorter again."""
        self._release()

    def _release(self) -> None:
        account, self._account = self._account, None
        if account is not None:
            account.pending = max(account.pending - self._charged, 0.0)

    def explained(self, kind: str, exchange: Exchange) -> str:
        """Why, in one line: index, result, choice, and what was known of each endpoint."""
        served = exchange.endpoint.id if exchange.endpoint is not None else "none"
        return f"index={kind}; result={self.result}; choice={served}; tokens={self.prompt.length}{self._each()}"

    def _each(self) -> str:
        weights = self._scorer.config.score
        shown = []
        for endpoint, fact in list(zip(self.endpoints, self._facts, strict=True))[:_SHOWN]:
            cost = score.cost(self.prompt.length, fact, weights)
            shown.append(
                f"; {endpoint.id}(matched={fact.matched} pending={fact.pending:.0f} in_flight={fact.in_flight} "
                f"work={fact.work:.0f} waiting={fact.waiting} cost={cost:.0f})"
            )
        return "".join(shown)

    def __repr__(self) -> str:
        return f"result={self.result}; tokens={self.prompt.length}{self._each()}"
