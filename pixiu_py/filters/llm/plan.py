"""What the filters before the LLM proxy have decided about how one request is to be answered.

Each writes its part into the one ``Plan`` of the exchange; the proxy's ``Walk`` follows it. A request without a plan is
walked as it came: the model that it names, the balancer's endpoint first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.http.exchange import Exchange

#: Key in ``exchange.params`` under which the plan stands.
PLAN = "llm_plan"

#: Puts endpoints into the order in which they should be tried. Those it leaves out come last; an empty answer leaves the
#: choice to the balancer. Asked again after each failure, with what is left.
Rank = Callable[[Sequence["Endpoint"]], Sequence["Endpoint"]]
#: (body, endpoint, model) → the body for this attempt.
Edit = Callable[[bytes, "Endpoint", str], bytes]


class Plan:
    """How one request is to be answered. Every part may be left as it is."""

    __slots__ = ("edits", "models", "most_attempts", "rank", "shared", "window")

    def __init__(self) -> None:
        #: The models to ask, best first, each at most once; empty: the one that the request names.
        self.models: tuple[str, ...] = ()
        #: After so many attempts no further model is turned to; 0: no limit.
        self.most_attempts = 0
        #: So many seconds after the request came, neither; 0: no limit.
        self.window = 0.0
        self.rank: Rank | None = None
        #: Applied to the body of each attempt, in order, after the model's name has been put in.
        self.edits: tuple[Edit, ...] = ()
        #: True when it stands for several requests, so that nobody may change it.
        self.shared = False


def plan_of(exchange: Exchange) -> Plan:
    """The plan of an exchange, for a filter to change; made when it is first wanted."""
    plan: Plan | None = exchange.params.get(PLAN)
    if plan is None:
        plan = exchange.params[PLAN] = Plan()
    elif plan.shared:
        plan = exchange.params[PLAN] = copy(plan)
        plan.shared = False
    return plan
