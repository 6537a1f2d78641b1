"""One request in the books."""

from __future__ import annotations

from typing import NamedTuple
from uuid import uuid4

from msgspec import Struct

from pixiu_py.stores.ledger.cost import Cost, Tokens, capped, cost
from pixiu_py.stores.ledger.tariff import Tariff
from pixiu_py.stores.text import storable

#: Names come from clients too; more characters than this tell nobody anything.
_LONGEST = 256


class Served(NamedTuple):
    """A completed request, without its tokens."""

    request_id: str
    #: Its end, Unix seconds.
    time: float
    #: Whose key it was; empty: nobody's that is known.
    principal: str
    #: The model that answered, and the id of its endpoint.
    model: str
    endpoint: str
    #: Status that went to the client.
    status: int


class UsageRecord(Struct, frozen=True):
    """What one completed request used and cost.

    ``id`` is ours: a request id may be the client's, and a client that repeats one must not ride for free. A record that
    is appended twice counts once.
    """

    id: str
    served: Served
    tokens: Tokens
    #: None: no tariff, or one without prices.
    cost: Cost | None
    #: The counts of the split are an estimate.
    estimated: bool


def usage_record(
    served: Served, tokens: Tokens, tariff: Tariff | None, *, estimated: bool = False, record_id: str = ""
) -> UsageRecord:
    """A record, priced under ``tariff``, with texts and numbers that every database takes. ``record_id`` empty: a new one."""
    clean = served._replace(
        request_id=storable(served.request_id, _LONGEST),
        principal=storable(served.principal, _LONGEST),
        model=storable(served.model, _LONGEST),
        endpoint=storable(served.endpoint, _LONGEST),
    )
    return UsageRecord(record_id or uuid4().hex, clean, capped(tokens), cost(tokens, tariff), estimated)
