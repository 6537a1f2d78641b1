"""Sums and tariffs for people (a table), for spreadsheets (CSV) and for programs (JSON). Times are UTC."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from pixiu_py.stores.ledger.base import UsageSum
from pixiu_py.stores.ledger.keys import KeyRow
from pixiu_py.stores.ledger.rows import TARIFF_COLUMNS, TOKEN_COLUMNS
from pixiu_py.stores.ledger.tariff import Tariff, TariffRow, in_force

#: A row: column → a text, a number, a decimal, or None. All rows of a list have the same columns.
Row = Mapping[str, Any]

_AGO = re.compile(r"(\d+)([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def moment(text: str, now: float) -> float:
    """Unix time of ``2026-01-31``, ``2026-01-31T12:00``, with or without a zone (else UTC), or of ``24h`` before ``now``.

    Raises ``ValueError``.
    """
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        return now - int(ago[1]) * _UNITS[ago[2]]
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"expected a time such as 2026-01-31, 2026-01-31T12:00 or 24h, got {text!r}") from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


def usage_rows(by: Sequence[str], sums: Iterable[UsageSum]) -> list[Row]:
    """One row for each sum: its key, then its numbers."""
    return [
        {
            **dict(zip(by, total.key, strict=True)),
            "requests": total.requests,
            "unpriced": total.unpriced,
            **dict(zip(TOKEN_COLUMNS, total.tokens, strict=True)),
            "list_cost": total.list_cost,
            "charged_cost": total.charged_cost,
        }
        for total in sums
    ]


def tariff_rows(
    rows: Sequence[TariffRow], configured: Sequence[Tariff], now: float, *, everything: bool = False
) -> list[Row]:
    """One row for each tariff: the ledger's that hold (or all), and the file's for models that the ledger does not know."""
    known = {row.tariff.model for row in rows}
    chosen = [row for row in rows if everything or row is in_force(rows, row.tariff.model, now)]
    found = [("ledger", row) for row in chosen]
    found += [("file", TariffRow(tariff)) for tariff in configured if tariff.model not in known]
    return [
        {
            **{name: getattr(row.tariff, name) for name in TARIFF_COLUMNS[:-2]},
            "valid_from": _time(row.valid_from) if source == "ledger" else None,
            "valid_until": _time(row.valid_until),
            "source": source,
        }
        for source, row in sorted(found, key=lambda item: (item[1].tariff.model, item[1].valid_from))
    ]


def key_rows(keys: Iterable[KeyRow]) -> list[Row]:
    """One row for each key; nobody can tell the key from it."""
    return [{"principal": row.principal, "digest": row.digest.hex(), "added_at": _time(row.added_at)} for row in keys]


def changed(tariff: Tariff, given: Mapping[str, str]) -> Tariff:
    """``tariff`` with other values, given as texts. Raises ``ValueError``."""
    values: dict[str, Any] = {name: getattr(tariff, name) for name in TARIFF_COLUMNS[:-2]}
    for name, text in given.items():
        try:
            values[name] = Decimal(text) if name != "min_prefix_tokens" else int(text)
        except (InvalidOperation, ValueError):
            raise ValueError(f"{name}: expected a number, got {text!r}") from None
    if values["min_prefix_tokens"] not in range(2**31):
        raise ValueError(f"min_prefix_tokens must be at least 0 and below {2**31}")
    return Tariff(**values)


def shown(rows: Sequence[Row], format_: str) -> str:
    """Rows as ``table``, ``csv`` or ``json``; costs and prices keep all their digits. Nothing to show: no text, or ``[]``."""
    if format_ == "json":
        return json.dumps([{name: _plain(value) for name, value in row.items()} for row in rows], indent=2) + "\n"
    if not rows:
        return ""
    if format_ == "csv":
        out = io.StringIO()
        cells = [[_cell(value) for value in row.values()] for row in rows]
        csv.writer(out, lineterminator="\n").writerows([list(rows[0]), *cells])
        return out.getvalue()
    texts = [[_text(value) for value in row.values()] for row in rows]
    return _table(list(rows[0]), texts, [not isinstance(value, str) for value in rows[0].values()])


def _table(head: list[str], rows: list[list[str]], is_number: list[bool]) -> str:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = []
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, is_number, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    text = "" if value is None else str(value)
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def _cell(value: Any) -> str:
    """A text that a spreadsheet would take for a formula gets an apostrophe: names of models come from clients."""
    text = _text(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(("=", "+", "-", "@")) else text


def _plain(value: Any) -> Any:
    """A decimal as text: a number of JSON would be read as a float."""
    return f"{value:f}" if isinstance(value, Decimal) else value


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
