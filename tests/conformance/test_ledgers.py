"""The contract of a ledger, over each backend, with real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixiu_py.config.types import Model, Secret
from pixiu_py.errors import PluginError
from pixiu_py.plugins import build_registry
from pixiu_py.registry import Family
from pixiu_py.stores.base import StoreError
from pixiu_py.stores.ledger.base import Ledger, LedgerRef, UsageQuery
from pixiu_py.stores.ledger.cost import MOST_TOKENS, Tokens
from pixiu_py.stores.ledger.keys import KeyRow
from pixiu_py.stores.ledger.record import Served, UsageRecord, usage_record
from pixiu_py.stores.ledger.tariff import Tariff, TariffRow
from tests.fakes.servers import Servers

REGISTRY = build_registry()
KINDS = ("sqlite", "postgres")
#: 2033-05-18 03:33:20 UTC
NOW = 2_000_000_000.25
DAY = 86_400.0
TARIFF = Tariff(model="m", input_price=Decimal("0.15"), output_price=Decimal("0.6"))


def record(tokens: Tokens = Tokens(100, 10), tariff: Tariff | None = TARIFF, **changes: Any) -> UsageRecord:  # noqa: B008
    given = {"request_id": "r", "time": NOW, "principal": "alice", "model": "m", "endpoint": "e", "status": 200}
    return usage_record(Served(**{**given, **changes}), tokens, tariff)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(tmp_path_factory, stack)


async def opened(kind: str, servers: Servers) -> Ledger:
    """A started ledger that is empty."""
    options: dict[str, Any] = {"path": str(servers.folder() / "ledger.db")}
    if kind == "postgres":
        await servers.empty_postgres()
        options = {"dsn": Secret(servers.postgres.url), "timeout": 60.0}
    entry = REGISTRY.find(Family.LEDGER, kind)
    assert entry is not None
    ledger: Ledger = LedgerRef(name=kind, config=entry.cls.Config(**options)).make(REGISTRY)
    await ledger.start()
    return ledger


@pytest.fixture(params=KINDS)
async def ledger(request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator[Ledger]:
    made = await opened(request.param, servers)
    yield made
    await made.close()


def test_every_registered_kind_is_tested_here() -> None:
    assert sorted(KINDS) == REGISTRY.kinds(Family.LEDGER)
    with pytest.raises(PluginError, match="ledger is named 'nothing'"):
        LedgerRef(name="nothing").make(REGISTRY)


# --- usage -----------------------------------------------------------------------------------------------------------


async def test_an_empty_ledger_has_no_sums(ledger: Ledger) -> None:
    assert await ledger.usage(UsageQuery()) == []
    assert await ledger.usage(UsageQuery(by=("model",))) == []


async def test_usage_is_summed_up(ledger: Ledger) -> None:
    await ledger.append(
        [
            record(Tokens(2000, 500, read=1000, write_1h=500)),
            record(Tokens(100, 7, write_5m=60, write_24h=40)),
            record(Tokens(3, 1), tariff=None),
        ]
    )
    (total,) = await ledger.usage(UsageQuery())
    assert (total.key, total.requests, total.unpriced) == ((), 3, 1)
    assert total.tokens == Tokens(2103, 508, 1000, 60, 500, 40)
    assert total.list_cost == Decimal("0.0006") + Decimal("0.0000192")
    assert total.charged_cost == Decimal("0.00054") + Decimal("0.00003045")


async def test_a_record_counts_once_however_often_it_is_appended(ledger: Ledger) -> None:
    """A batch whose answer got lost is appended again, perhaps with others."""
    one, two = record(), record()
    assert await ledger.append([one]) == 1
    assert await ledger.append([one, two]) == 1
    assert await ledger.append([one, two]) == 0
    (total,) = await ledger.usage(UsageQuery())
    assert total.requests == 2


async def test_two_requests_with_one_request_id_are_two(ledger: Ledger) -> None:
    assert await ledger.append([record(request_id="mine"), record(request_id="mine")]) == 2


async def test_a_batch_may_name_a_record_twice(ledger: Ledger) -> None:
    one = record()
    assert await ledger.append([one, one]) == 1


async def test_no_records_are_no_work(ledger: Ledger) -> None:
    assert await ledger.append([]) == 0


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ((), [()]),
        (("principal",), [("alice",), ("bob",)]),
        (("model", "principal"), [("m", "alice"), ("m", "bob"), ("n", "alice")]),
        (("endpoint",), [("e",), ("f",)]),
        (("status",), [("200",), ("500",)]),
        (("day",), [("2033-05-18",), ("2033-05-19",)]),
    ],
)
async def test_sums_are_made_by_columns(ledger: Ledger, by: Any, keys: list[tuple[str, ...]]) -> None:
    """Ordered by key, and each record is in one of them."""
    records = [
        record(),
        record(principal="bob", endpoint="f"),
        record(model="n", status=500),
        record(time=NOW + DAY),
    ]
    await ledger.append(records)
    sums = await ledger.usage(UsageQuery(by=by))
    assert [one.key for one in sums] == keys
    assert sum(one.requests for one in sums) == 4


async def test_a_period_has_its_beginning_and_not_its_end(ledger: Ledger) -> None:
    await ledger.append([record(time=NOW + second) for second in range(5)])
    (total,) = await ledger.usage(UsageQuery(NOW + 1, NOW + 4))
    assert total.requests == 3
    (rest,) = await ledger.usage(UsageQuery(NOW + 4))
    assert rest.requests == 1


async def test_the_largest_counts_and_any_text_can_be_kept(ledger: Ledger) -> None:
    large = Tokens(*[2**70] * 2)
    await ledger.append([record(large, model="a\x00'\ud800", principal="模" * 999, endpoint="") for _ in range(3)])
    (total,) = await ledger.usage(UsageQuery())
    assert total.tokens.prompt == 3 * MOST_TOKENS


async def test_old_usage_can_be_removed(ledger: Ledger) -> None:
    """A few at a time, and nothing else."""
    await ledger.append([record(time=NOW + number) for number in range(5)])
    assert [await ledger.prune(NOW + 3, 2) for _ in range(3)] == [2, 1, 0]
    (total,) = await ledger.usage(UsageQuery())
    assert total.requests == 2


tokens = st.builds(Tokens, *[st.integers(0, 10**9)] * 6)
prices = st.decimals(0, 1000, places=12)


@pytest.mark.parametrize("kind", KINDS)
def test_sums_of_costs_are_exact(kind: str, servers: Servers) -> None:
    """To the last of the digits that prices, multipliers and counts give."""
    with asyncio.Runner() as runner:
        ledger = runner.run(opened(kind, servers))
        known: list[UsageRecord] = []

        @given(st.lists(st.tuples(tokens, prices, prices), max_size=5))
        @settings(max_examples=30)
        def check(requests: list[tuple[Tokens, Decimal, Decimal]]) -> None:
            new = [
                record(split, Tariff(model="m", input_price=price, output_price=output))
                for split, price, output in requests
            ]
            assert runner.run(ledger.append(new)) == len(new)
            known.extend(new)
            for total in runner.run(ledger.usage(UsageQuery())):
                assert total.list_cost == exact(known, 0)
                assert total.charged_cost == exact(known, 1)

        check()
        runner.run(ledger.close())


def exact(records: list[UsageRecord], which: int) -> Decimal:
    """The sum in whole units of the smallest digit."""
    units = [int((one.cost[which] if one.cost else Decimal(0)).scaleb(22)) for one in records]
    return Decimal(f"{sum(units)}E-22")


# --- tariffs ---------------------------------------------------------------------------------------------------------


async def test_history_is_kept(ledger: Ledger) -> None:
    """Enable, re-price, disable, enable again: nothing is changed but the end of the last row."""
    dearer = Tariff(model="m", min_prefix_tokens=2048, read_multiplier=Decimal("0.25"))
    assert await ledger.tariffs() == []
    assert await ledger.set_tariff(TARIFF, NOW) == TariffRow(TARIFF, NOW)
    await ledger.set_tariff(dearer, NOW + 10)
    assert await ledger.disable_tariff("m", NOW + 20)
    await ledger.set_tariff(TARIFF, NOW + 30)
    assert await ledger.tariffs() == [
        TariffRow(TARIFF, NOW, NOW + 10),
        TariffRow(dearer, NOW + 10, NOW + 20),
        TariffRow(TARIFF, NOW + 30),
    ]


async def test_what_is_off_can_be_switched_off_again(ledger: Ledger) -> None:
    assert not await ledger.disable_tariff("m", NOW)
    await ledger.set_tariff(TARIFF, NOW)
    assert await ledger.disable_tariff("m", NOW + 1)
    assert not await ledger.disable_tariff("m", NOW + 2)


async def test_history_is_not_rewritten(ledger: Ledger) -> None:
    """A tariff begins after the last one, also after one that has ended."""
    await ledger.set_tariff(TARIFF, NOW)
    for now in (NOW, NOW - 1):
        with pytest.raises(StoreError, match="does not begin before"):
            await ledger.set_tariff(TARIFF, now)
    assert await ledger.tariffs() == [TariffRow(TARIFF, NOW)]
    await ledger.disable_tariff("m", NOW - 5)
    assert await ledger.tariffs() == [TariffRow(TARIFF, NOW, NOW)]


async def test_models_have_histories_of_their_own(ledger: Ledger) -> None:
    await ledger.set_tariff(Tariff(model="b"), NOW)
    await ledger.set_tariff(Tariff(model="a"), NOW)
    await ledger.disable_tariff("a", NOW + 1)
    assert await ledger.tariffs() == [TariffRow(Tariff(model="a"), NOW, NOW + 1), TariffRow(Tariff(model="b"), NOW)]


async def test_a_tariff_comes_back_as_it_was(ledger: Ledger) -> None:
    """To the last decimal; a price that is not there is not 0."""
    tariff = Tariff(
        model="org/model:1",
        min_prefix_tokens=0,
        write_multiplier_5m=Decimal(0),
        write_multiplier_1h=Decimal("99.9999"),
        write_multiplier_24h=Decimal("10.5"),
        read_multiplier=Decimal("0.0001"),
        input_price=Decimal("0.000000000001"),
        output_price=None,
    )
    await ledger.set_tariff(tariff, NOW)
    (row,) = await ledger.tariffs()
    assert row.tariff == tariff
    assert str(row.tariff.write_multiplier_24h) == "10.5"


async def test_of_many_that_set_at_once_one_holds(ledger: Ledger) -> None:
    """However they interleave, no two are in force."""
    results = await asyncio.gather(
        *(ledger.set_tariff(TARIFF, NOW + number % 4) for number in range(8)), return_exceptions=True
    )
    assert {type(result) for result in results} <= {TariffRow, StoreError}
    rows = await ledger.tariffs()
    assert [row.valid_until for row in rows] == [*(row.valid_from for row in rows[1:]), None]


# --- keys ------------------------------------------------------------------------------------------------------------


async def test_keys_have_owners(ledger: Ledger) -> None:
    """As many as an owner likes; one is nobody else's."""
    assert await ledger.add_key(b"\x02" * 32, "bob", NOW)
    assert await ledger.add_key(b"\x01" * 32, "bob", NOW)
    assert await ledger.add_key(b"\x03" * 32, "alice", NOW + 1)
    assert not await ledger.add_key(b"\x03" * 32, "alice", NOW + 2)
    with pytest.raises(StoreError, match="another's"):
        await ledger.add_key(b"\x03" * 32, "bob", NOW)
    assert await ledger.keys() == [
        KeyRow(b"\x03" * 32, "alice", NOW + 1),
        KeyRow(b"\x01" * 32, "bob", NOW),
        KeyRow(b"\x02" * 32, "bob", NOW),
    ]


async def test_a_key_can_be_forgotten_and_given_to_another(ledger: Ledger) -> None:
    await ledger.add_key(b"k", "alice", NOW)
    assert await ledger.remove_key(b"k")
    assert not await ledger.remove_key(b"k")
    assert await ledger.keys() == []
    assert await ledger.add_key(b"k", "bob", NOW)


def test_its_config_has_what_the_writer_needs() -> None:
    """Each kind's block carries the keys of the writer."""
    for kind in KINDS:
        entry = REGISTRY.find(Family.LEDGER, kind)
        assert entry is not None
        model: type[Model] = entry.cls.Config
        assert {"writer", "refresh"} <= set(model.__struct_fields__)
