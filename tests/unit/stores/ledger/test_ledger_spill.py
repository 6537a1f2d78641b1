"""Records come back from a file as they were."""

from __future__ import annotations

import errno
import os
from decimal import Decimal
from pathlib import Path

import pytest

from pixiu_py.stores.ledger.record import usage_record
from pixiu_py.stores.ledger.spill import read_spilled, spill, spilled
from pixiu_py.stores.ledger.tariff import Tariff
from tests.fakes.ledgers import SERVED, TOKENS

PRICED = Tariff(model="model", input_price=Decimal("0.000000000001"))


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    """Each process has a file of its own, which others cannot read."""
    path = str(tmp_path / "usage [1]")
    records = [usage_record(SERVED, TOKENS, PRICED), usage_record(SERVED._replace(principal="模\n"), TOKENS, None)]
    files = [spill(path, records), spill(path, records[:1])]
    assert sorted(files) == spilled(path)
    assert list(read_spilled(files[0])) == records
    assert list(read_spilled(files[1])) == records[:1]
    assert all(file.stat().st_mode & 0o777 & ~0o640 == 0 for file in files)


def test_a_file_that_was_not_finished_is_none(tmp_path: Path) -> None:
    (tmp_path / ".usage.0123").write_bytes(b"{")
    assert spilled(str(tmp_path / "usage")) == []


def test_a_file_that_could_not_be_finished_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would ever read or remove it, and each end on a full disk would make another."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        spill(str(tmp_path / "usage"), [usage_record(SERVED, TOKENS, None)])
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_record_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "usage.x").write_bytes(b'{"id": 1}\n')
    with pytest.raises(ValueError, match="Expected `str`"):
        list(read_spilled(tmp_path / "usage.x"))
