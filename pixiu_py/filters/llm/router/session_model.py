"""The keys of ``routing``: how conversations stay on their model."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from pixiu_py.config.types import Duration, KindRef, Model, doc
from pixiu_py.registry import Family
from pixiu_py.stores.memory import MemoryConfig


class SessionCacheRef(KindRef, frozen=True):
    """Where sessions are kept."""

    family: ClassVar[Family] = Family.STORE
    name: Annotated[str, doc("Its kind: `memory` is this worker's own, `redis` is shared.")] = field(
        name="type", default="memory"
    )
    tenant_header: Annotated[str, doc("Header whose value keeps the sessions of tenants apart.")] = ""


class RoutingBudget(Model, frozen=True):
    """Mode budget: what may be spent on lost prompt caches."""

    max_switch_spend_pct: Annotated[
        float, Meta(ge=0, le=100, description="Share of a session's cached cost, in percent, that switching may cost.")
    ] = 25.0
    replenish_on_rebind: Annotated[bool, doc("A session whose cache has gone begins to count anew.")] = True
    cache_read_discount: Annotated[
        float, Meta(ge=0, le=1, description="A model's cached rate as a share of its plain one, where it is not known.")
    ] = 0.1
    cache_window_seconds: Annotated[
        int, Meta(ge=1, description="How long providers keep a prompt in their cache after its last use.")
    ] = 300


class Routing(Model, frozen=True):
    """How conversations stay on their model."""

    session_header: Annotated[
        str, Meta(min_length=1, description="Header in which a client names its conversation; it goes no further.")
    ] = "X-Model-Affinity"
    session_mode: Annotated[
        Literal["pin", "user-turn", "budget"],
        doc("`pin`: no decision while a pin lives; `user-turn`: none within a tool loop; `budget`: as spend allows."),
    ] = "pin"
    session_ttl_seconds: Annotated[int, Meta(ge=0, description="Life of a session; 0: none is found again.")] = 600
    session_ttl: Annotated[
        Literal["fixed", "sliding"],
        doc(
            "Mode pin: `fixed`: it counts from the pin's beginning; `sliding`: from its latest use, as in other modes."
        ),
    ] = "fixed"
    session_max_entries: Annotated[
        int, Meta(ge=1, description="memory: most sessions; the one unused longest goes.")
    ] = 10_000
    session_max_pending: Annotated[
        int, Meta(ge=1, description="Most sessions that wait to be written; what comes above that is not kept.")
    ] = 1000
    session_close_timeout: Annotated[
        Duration, Meta(gt=0, description="At the end, how long what waits may take to be written.")
    ] = 5.0
    session_cache: Annotated[SessionCacheRef, doc("Where sessions are kept.")] = SessionCacheRef()
    implicit_sessions: Annotated[
        bool, doc("Without the header: the same tenant, system text, tools and first user message are one session.")
    ] = False
    routing_budget: Annotated[RoutingBudget, doc("Mode budget.")] = field(default_factory=RoutingBudget)

    def __post_init__(self) -> None:
        config = self.session_cache.config
        if isinstance(config, MemoryConfig) and config.max_entries != MemoryConfig().max_entries:
            raise ValueError("session_cache.max_entries: The key for this is session_max_entries")
