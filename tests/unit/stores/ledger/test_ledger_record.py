"""A record is priced, and holds what every database can hold."""

from __future__ import annotations

from decimal import Decimal

from pixiu_py.stores.ledger.cost import MOST_TOKENS, Tokens
from pixiu_py.stores.ledger.record import Served, usage_record
from pixiu_py.stores.ledger.tariff import Tariff

SERVED = Served("r", 1.5, "alice", "m", "e", 200)
TARIFF = Tariff(model="m", input_price=Decimal(1))
TOKENS = Tokens(1000, 10, read=500)


def test_a_record_is_priced_when_it_is_made() -> None:
    made = usage_record(SERVED, TOKENS, TARIFF)
    assert made.cost == (Decimal("0.001"), Decimal("0.00055"))
    assert usage_record(SERVED, TOKENS, None).cost is None


def test_each_record_has_an_id_of_its_own() -> None:
    """Though the request's is the same: that one may be the client's."""
    one, other = (usage_record(SERVED, TOKENS, TARIFF) for _ in range(2))
    assert one.id != other.id
    assert usage_record(SERVED, TOKENS, TARIFF, record_id="x").id == "x"


def test_what_no_database_takes_is_not_in_it() -> None:
    served = SERVED._replace(request_id="a\x00", model="m" * 999, principal="\ud800")
    made = usage_record(served, Tokens(2**80, -1), TARIFF)
    assert "\x00" not in made.served.request_id
    assert len(made.served.model) == 256
    made.served.principal.encode()
    assert made.tokens == Tokens(MOST_TOKENS, 0)
