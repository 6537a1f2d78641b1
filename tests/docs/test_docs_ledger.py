"""The page about usage, costs and tariffs tells the truth."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from pixiu_py import cli_books
from pixiu_py.cli import main
from pixiu_py.observability.metrics import Metrics
from pixiu_py.plugins import build_registry
from pixiu_py.registry import Family
from pixiu_py.stores.ledger.books import Books
from pixiu_py.stores.ledger.cost import Tokens, cost
from pixiu_py.stores.ledger.rows import RECORD_COLUMNS, TARIFF_COLUMNS
from pixiu_py.stores.ledger.tariff import Tariff
from tests.docs.pages import code, read, section, tables
from tests.fakes.ledgers import ListLedger

PAGE = "usage-ledger.md"
REGISTRY = build_registry()


def first_column(title: str) -> list[str]:
    """What stands in backticks in the first column of the first table below a heading."""
    return [name for row in tables(section(PAGE, title))[0] for name in code(row[0])]


def test_every_kind_is_there() -> None:
    for title, family in (("The ledger", Family.LEDGER), ("The index of prefixes", Family.PREFIX_INDEX)):
        kinds = [re.findall(r"type: (\w+)", block)[0] for block in first_column(title)]
        assert sorted(kinds) == REGISTRY.kinds(family)


def test_every_column_is_there() -> None:
    assert first_column("What is written") == list(RECORD_COLUMNS)


def test_every_key_of_a_tariff_is_there_with_its_flag_and_default() -> None:
    (rows,) = tables(section(PAGE, "Tariffs"))
    assert [name for row in rows for name in code(row[0])] == list(TARIFF_COLUMNS[:-2])
    flags = {key: flag for flag, (key, _) in cli_books._TARIFF_FLAGS.items()}
    default = Tariff(model="m")
    for key, flag, value, _ in rows[1:]:
        (name,) = code(key)
        assert code(flag) == [flags[name]]
        given = getattr(default, name)
        assert code(value) == ([] if given is None else [str(given)])


def test_the_example_of_a_cost_is_right() -> None:
    """As the page computes it."""
    (rows,) = tables(section(PAGE, "Costs"))
    for prompt, read_, write, completion, listed, charged in rows:
        tariff = Tariff(model="m", input_price=Decimal(10), output_price=Decimal(30))
        tokens = Tokens(int(prompt), int(completion), read=int(read_), write_1h=int(write))
        assert cost(tokens, tariff) == (Decimal(listed), Decimal(charged))


COMMANDS = ("usage", "promptcache tariff list", "promptcache tariff set", "promptcache key add")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_is_there(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that other commands have as well are in the table of the operating page."""
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"], {})
    options = capsys.readouterr().out.partition("options:")[2]
    flags = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", options)) - {"--help", "--config", "--plugins-dir"}
    assert len(flags) >= 2
    assert {flag for flag in flags if f"`{flag}" not in read(PAGE)} == set()


def test_every_metric_is_there() -> None:
    metrics = Metrics()
    Books([], ListLedger(), metrics)
    made = re.findall(r"# TYPE (\w+)", metrics.render().decode())
    assert sorted(first_column("Metrics")) == sorted(made)
