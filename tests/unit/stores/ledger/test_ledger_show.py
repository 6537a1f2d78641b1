"""Sums and tariffs as they are printed."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal

import pytest

from pixiu_py.stores.ledger.base import UsageSum
from pixiu_py.stores.ledger.cost import Tokens
from pixiu_py.stores.ledger.show import changed, moment, shown, tariff_rows, usage_rows
from pixiu_py.stores.ledger.tariff import Tariff, TariffRow

NOW = 2_000_000_000.0
SUMS = [
    UsageSum(
        ("alice", "=cmd"), 12, 1, Tokens(3000, 50, 1000, 1, 2, 3), Decimal("0.00000000000000000001"), Decimal("1E+3")
    ),
    UsageSum(("bob", "m\nn"), 1, 0, Tokens(5, 1), Decimal(0), Decimal("0.5")),
]
ROWS = usage_rows(("principal", "model"), SUMS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2033-05-18", 1_999_987_200.0),
        ("2033-05-18T03:33:20", NOW),
        ("2033-05-18T03:33:20Z", NOW),
        ("2033-05-18T05:33:20+02:00", NOW),
        ("30s", NOW - 30),
        ("24h", NOW - 86_400),
        ("7d", NOW - 7 * 86_400),
        ("2w", NOW - 14 * 86_400),
    ],
)
def test_times_are_dates_or_distances(text: str, expected: float) -> None:
    """UTC, unless a zone is given."""
    assert moment(text, NOW) == expected


@pytest.mark.parametrize("text", ["yesterday", "7", "2033-13-01", ""])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time such as"):
        moment(text, NOW)


def test_a_table_has_its_numbers_on_the_right() -> None:
    head, first, second = shown(ROWS, "table").splitlines()
    assert head.split()[:4] == ["principal", "model", "requests", "unpriced"]
    numbers = "12 1 3000 50 1000 1 2 3 0.00000000000000000001 1000"
    assert first.split() == ["alice", "=cmd", *numbers.split()]
    assert second.split()[1] == "m\\nn"
    ends = [head.index("prompt") + len("prompt"), first.index("3000") + 4]
    assert ends[0] == ends[1]


def test_csv_can_be_read_back_and_holds_no_formula() -> None:
    """Names of models come from clients."""
    rows = list(csv.DictReader(io.StringIO(shown(ROWS, "csv"))))
    assert [row["model"] for row in rows] == ["'=cmd", "m\\nn"]
    assert rows[0]["list_cost"] == "0.00000000000000000001"
    assert rows[0]["requests"] == "12"


def test_json_keeps_every_digit() -> None:
    """Counts are numbers, costs are texts: a float would round them."""
    first, second = json.loads(shown(ROWS, "json"))
    assert (first["requests"], first["list_cost"], first["charged_cost"]) == (12, "0.00000000000000000001", "1000")
    assert second["model"] == "m\nn"


def test_nothing_is_shown_as_nothing() -> None:
    assert (shown([], "table"), shown([], "csv"), json.loads(shown([], "json"))) == ("", "", [])


FIRST = TariffRow(Tariff(model="m"), NOW - 20, NOW - 10)
SECOND = TariffRow(Tariff(model="m", read_multiplier=Decimal("0.25")), NOW - 10)
ENDED = TariffRow(Tariff(model="off"), NOW - 20, NOW - 10)


def test_tariffs_that_hold_are_listed_with_the_files_own() -> None:
    """A model that the ledger knows is the ledger's, also when it is off."""
    configured = [Tariff(model="m"), Tariff(model="off"), Tariff(model="file")]
    rows = tariff_rows([FIRST, SECOND, ENDED], configured, NOW)
    assert [(row["model"], row["source"], row["valid_from"]) for row in rows] == [
        ("file", "file", None),
        ("m", "ledger", "2033-05-18T03:33:10Z"),
    ]
    everything = tariff_rows([FIRST, SECOND, ENDED], configured, NOW, everything=True)
    assert [(row["model"], row["valid_until"]) for row in everything] == [
        ("file", None),
        ("m", "2033-05-18T03:33:10Z"),
        ("m", None),
        ("off", "2033-05-18T03:33:10Z"),
    ]


def test_a_changed_tariff_keeps_the_rest() -> None:
    tariff = changed(SECOND.tariff, {"input_price": "0.15", "min_prefix_tokens": "2048"})
    assert (tariff.read_multiplier, tariff.input_price, tariff.min_prefix_tokens) == (
        Decimal("0.25"),
        Decimal("0.15"),
        2048,
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"input_price": "much"}, "input_price: expected a number, got 'much'"),
        ({"min_prefix_tokens": "1.5"}, "min_prefix_tokens: expected a number"),
        ({"min_prefix_tokens": "-1"}, "min_prefix_tokens must be at least 0"),
        ({"read_multiplier": "100"}, "read_multiplier must be at least 0 and below 100"),
    ],
)
def test_what_is_no_price_is_refused(given: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        changed(FIRST.tariff, given)
