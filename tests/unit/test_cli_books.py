"""The commands that read and keep the books: what they print, and where they find the ledger."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import logging
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import structlog

from pixiu_py.cli import main
from pixiu_py.config.types import Secret
from pixiu_py.stores.ledger.base import Ledger
from pixiu_py.stores.ledger.keys import key_digest
from pixiu_py.stores.ledger.postgres import PostgresLedger, PostgresLedgerConfig
from pixiu_py.stores.ledger.record import usage_record
from pixiu_py.stores.ledger.sqlite import SqliteLedger, SqliteLedgerConfig
from pixiu_py.stores.ledger.tariff import Tariff
from tests.fakes.conf import http_filter, llm_conf
from tests.fakes.ledgers import SERVED, TOKENS
from tests.fakes.services import free_port, postgres_server

KIND = "acme.filter.books"
PLUGIN = """
from pixiu_py.config.types import Model
from pixiu_py.filters.base import HttpFilter
from pixiu_py.registry import Family, plugin
from pixiu_py.stores.ledger.base import LedgerRef
from pixiu_py.stores.ledger.tariff import Tariff

class BooksConfig(Model, frozen=True):
    ledger: LedgerRef | None = None
    tariffs: list[Tariff] = []

@plugin(Family.HTTP_FILTER, "acme.filter.books")
class Books(HttpFilter):
    '''Names a ledger.'''
    Config = BooksConfig
"""
PRICED = Tariff(model="model", input_price=Decimal(1))


@pytest.fixture(autouse=True)
def _logs_stay() -> Iterator[None]:
    """The commands set up logging for their process, which here is everybody's."""
    saved, handlers, level = structlog.get_config(), logging.root.handlers[:], logging.root.level
    yield
    structlog.configure(**saved)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger with three records of two principals."""
    path = tmp_path / "ledger.db"
    asyncio.run(fill(SqliteLedger(SqliteLedgerConfig(path=str(path)))))
    return path


async def fill(ledger: Ledger) -> None:
    await ledger.start()
    await ledger.append(
        [
            usage_record(SERVED, TOKENS, PRICED),
            usage_record(SERVED._replace(principal="bob", time=2_000.0), TOKENS, PRICED),
            usage_record(SERVED._replace(principal="bob", model="other"), TOKENS, None),
        ]
    )
    await ledger.close()


def run(capsys: pytest.CaptureFixture[str], *arguments: str, **environ: str) -> tuple[int, str, str]:
    """Exit code, what is printed, and on which stream."""
    try:
        code = main(arguments, environ)
    except SystemExit as error:
        code = int(error.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def read_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    code, out, err = run(capsys, *arguments, "--format", "json")
    assert (code, err) == (0, "")
    found: list[dict[str, Any]] = json.loads(out)
    return found


# --- usage -----------------------------------------------------------------------------------------------------------


def test_usage_by_model_and_principal(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "usage", "--ledger", str(path), "--by", "model,principal")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][:3] == ["model", "principal", "requests"]
    assert [line[:3] for line in lines[1:]] == [["model", "alice", "1"], ["model", "bob", "1"], ["other", "bob", "1"]]
    assert lines[1][-2:] == ["0.0001", "0.000064"]


def test_usage_of_a_period(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Dates are UTC."""
    arguments = ("usage", "--ledger", str(path))
    assert [row["requests"] for row in read_json(capsys, *arguments)] == [3]
    since = read_json(capsys, *arguments, "--since", "1970-01-01T00:30")
    until = read_json(capsys, *arguments, "--until", "1970-01-01T00:30Z")
    assert ([row["requests"] for row in since], [row["requests"] for row in until]) == ([1], [2])
    assert read_json(capsys, *arguments, "--since", "1h") == []


def test_usage_as_csv(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "usage", "--ledger", str(path), "--by", "day", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(out))
    assert (row["day"], row["requests"], row["unpriced"], row["list_cost"]) == ("1970-01-01", "3", "1", "0.0002")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--by", "color"), "expected some of principal, model, endpoint, status, day, each once"),
        (("--by", "model,model"), "each once"),
        (("--since", "soon"), "expected a time such as"),
        (("--format", "xml"), "invalid choice"),
    ],
)
def test_wrong_flags_are_told(path: Path, capsys: pytest.CaptureFixture[str], flags: Any, message: str) -> None:
    code, out, err = run(capsys, "usage", "--ledger", str(path), *flags)
    assert (code, out) == (2, "")
    assert message in err


# --- tariffs ---------------------------------------------------------------------------------------------------------


def test_a_tariff_is_set_changed_and_ended(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is not given stays as it was; history is kept."""
    tariff = ("promptcache", "tariff")
    ledger = ("--ledger", str(path))
    (row,) = read_json(capsys, *tariff, "set", "m", "--input-price", "0.15", *ledger)
    assert (row["model"], row["input_price"], row["read_multiplier"], row["valid_until"]) == ("m", "0.15", "0.1", None)
    (row,) = read_json(capsys, *tariff, "set", "m", "--read", "0.25", "--min-prefix-tokens", "64", *ledger)
    assert (row["input_price"], row["read_multiplier"], row["min_prefix_tokens"]) == ("0.15", "0.25", 64)
    assert [row["read_multiplier"] for row in read_json(capsys, *tariff, "list", *ledger)] == ["0.25"]
    assert [row["read_multiplier"] for row in read_json(capsys, *tariff, "list", "--all", *ledger)] == ["0.1", "0.25"]
    assert run(capsys, *tariff, "disable", "m", *ledger) == (0, "m: its tariff has ended\n", "")
    assert run(capsys, *tariff, "disable", "m", *ledger) == (2, "", "m: no tariff holds\n")
    assert read_json(capsys, *tariff, "list", *ledger) == []
    code, out, err = run(capsys, *tariff, "set", "m", "--read", "-1", *ledger)
    assert (code, out) == (2, "")
    assert "read_multiplier must be at least 0" in err


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "x" * 257])
@pytest.mark.parametrize("command", [("tariff", "set"), ("key", "add")])
def test_nobody_and_nothing_have_no_tariff_and_no_key(
    path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, str], name: str
) -> None:
    """As in the configuration: names have 1 to 256 characters."""
    code, _, err = run(capsys, "promptcache", *command, name, "--ledger", str(path))
    assert code == 2
    assert f"expected a name of 1 to 256 characters, got {len(name)}" in err


def test_keys_get_owners_and_are_never_shown(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key comes from standard input, where no list of processes shows it, and is kept as a digest."""
    command = ("promptcache", "key")
    ledger = ("--ledger", str(path))
    secret = "sk-very-secret"
    for expected in (f"{key_digest(secret).hex()}: alice\n", f"{key_digest(secret).hex()}: alice (already)\n"):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{secret}\n"))
        assert run(capsys, *command, "add", "alice", *ledger) == (0, expected, "")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{secret}\n"))
    assert run(capsys, *command, "add", "bob", *ledger) == (1, "", "ledger: the key is another's\n")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run(capsys, *command, "add", "bob", *ledger)[0] == 2
    (row,) = read_json(capsys, *command, "list", *ledger)
    assert (row["principal"], row["digest"]) == ("alice", key_digest(secret).hex())
    assert all(secret.encode() not in file.read_bytes() for file in path.parent.glob("ledger.db*"))
    assert run(capsys, *command, "remove", "ffff", *ledger) == (2, "", "ffff: no such key\n")
    code, out, _ = run(capsys, *command, "remove", row["digest"][:8], *ledger)
    assert (code, out) == (0, f"{row['digest']}: forgotten, was alice's\n")
    assert read_json(capsys, *command, "list", *ledger) == []


# --- where the ledger is ---------------------------------------------------------------------------------------------


@pytest.fixture
def configured(tmp_path: Path) -> Any:
    """Writes a configuration with these blocks of the filter, and gives the flags that name it."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "books.py").write_text(PLUGIN)

    def write(*blocks: dict[str, Any]) -> tuple[str, ...]:
        text = llm_conf(filters=[http_filter(KIND, **block) for block in blocks])
        (tmp_path / "conf.yaml").write_text(text)
        return ("-c", str(tmp_path / "conf.yaml"), "--plugins-dir", str(tmp_path / "plugins"))

    return write


def test_the_ledger_is_the_one_of_the_configuration(
    path: Path, capsys: pytest.CaptureFixture[str], configured: Any
) -> None:
    """However often it is named; tariffs of the file are listed as such, and are the base of a change."""
    ledger = {"type": "sqlite", "path": str(path)}
    flags = configured({"ledger": ledger, "tariffs": [{"model": "m", "read_multiplier": 0.5}]}, {"ledger": ledger}, {})
    assert [row["requests"] for row in read_json(capsys, "usage", *flags)] == [3]
    tariff = ("promptcache", "tariff")
    assert [(row["model"], row["source"]) for row in read_json(capsys, *tariff, "list", *flags)] == [("m", "file")]
    code, _, err = run(capsys, *tariff, "disable", "m", *flags)
    assert code == 2
    assert "in the configuration file, not in the ledger" in err
    (row,) = read_json(capsys, *tariff, "set", "m", "--write-5m", "1", *flags)
    assert (row["read_multiplier"], row["write_multiplier_5m"]) == ("0.5", "1")


def test_a_ledger_that_is_not_clear_has_to_be_named(
    path: Path, capsys: pytest.CaptureFixture[str], configured: Any
) -> None:
    other = {"type": "sqlite", "path": str(path.with_name("other.db"))}
    for blocks, message in (
        ([{}], "no ledger"),
        ([{"ledger": {"type": "sqlite", "path": str(path)}}, {"ledger": other}], "several ledgers"),
    ):
        code, out, err = run(capsys, "usage", *configured(*blocks))
        assert (code, out) == (2, "")
        assert f"{message} in the configuration; say which with --ledger" in err
    code, _, err = run(capsys, "usage", "-c", str(path.with_name("nothing.yaml")))
    assert code == 2
    assert "cannot be read" in err


def test_the_environment_may_name_it(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So that a password need not be in a list of processes."""
    code, out, _ = run(capsys, "usage", PIXIU_PY_LEDGER=str(path))
    assert code == 0
    assert out.splitlines()[1].split()[0] == "3"


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "usage", "--ledger", str(tmp_path / "typo.db"))
    assert code == 2
    assert "there is no such file" in err
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_that_cannot_be_reached_is_told_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "no.db").write_text("this is no database, though it is long enough to be taken for one" * 100)
    secret = "hunter2"
    for place in (str(tmp_path / "no.db"), f"postgresql://u:{secret}@127.0.0.1:{free_port()}/d"):
        code, out, err = run(capsys, "usage", "--ledger", place)
        assert (code, out) == (1, "")
        assert err.startswith("ledger: ")
        assert err.count("\n") == 1
        assert secret not in err
    assert "Connect call failed" in err
    code, _, err = run(capsys, "usage", "--ledger", f"mysql://u:{secret}@h/d")
    assert (code, err) == (2, "--ledger: dsn: Expected postgresql://…\n")


def test_a_ledger_in_postgres(capsys: pytest.CaptureFixture[str]) -> None:
    with postgres_server() as service:
        asyncio.run(fill(PostgresLedger(PostgresLedgerConfig(dsn=Secret(service.url)))))
        rows = read_json(capsys, "usage", "--ledger", service.url, "--by", "principal")
        assert [(row["principal"], row["requests"]) for row in rows] == [("alice", 1), ("bob", 2)]
        read_json(capsys, "promptcache", "tariff", "set", "m", "--ledger", service.url)
        assert len(read_json(capsys, "promptcache", "tariff", "list", "--ledger", service.url)) == 1
