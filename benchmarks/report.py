"""What comes out of a run: JSON, tables for the terminal, and the same tables in Markdown.

``python -m benchmarks.report results.json --into docs/performance.md`` renews the tables between that file's markers.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks.bench import Metric, Result

#: Ratios are given to these, where they were measured.
YARDSTICKS = ("go", "nginx")
BEGIN, END = "<!-- numbers: begin -->", "<!-- numbers: end -->"

Row = list[str]


@dataclasses.dataclass
class Report:
    """One run: where, with what, and what it measured."""

    about: dict[str, str]
    versions: dict[str, str]
    results: list[Result] = dataclasses.field(default_factory=list)

    def to_json(self) -> str:
        """The run with every round's values."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """The inverse of ``to_json``."""
        document = json.loads(text)
        return cls(document["about"], document["versions"], [_result(each) for each in document["results"]])


def _result(document: dict[str, Any]) -> Result:
    metrics = tuple(Metric(**metric) for metric in document.pop("metrics"))
    return Result(**document, metrics=metrics)


def table(result: Result) -> list[Row]:
    """Header and one row per metric: medians of each contender, then ratios of the first to the yardsticks."""
    names = list(result.rounds)
    subject = next((name for name in names if name not in YARDSTICKS and name != "direct"), "")
    yardsticks = [name for name in YARDSTICKS if name in names and subject]
    rows = [["", *names, *(f"{subject} / {name}" for name in yardsticks)]]
    for metric in result.metrics:
        values = [_number(result.median(name, metric.key), metric.digits) for name in names]
        ratios = [_number(ratio(result, metric, subject, name), 2) for name in yardsticks]
        rows.append([f"{metric.title}, {metric.unit}" if metric.unit else metric.title, *values, *ratios])
    return rows


def ratio(result: Result, metric: Metric, subject: str, yardstick: str) -> float | None:
    """Median over the rounds of subject / yardstick, each taken within one round."""
    if not metric.better:
        return None
    pairs = zip(result.rounds[subject], result.rounds[yardstick], strict=False)
    ratios = [a[metric.key] / b[metric.key] for a, b in pairs if a.get(metric.key, 0) > 0 and b.get(metric.key, 0) > 0]
    return statistics.median(ratios) if ratios else None


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def as_text(report: Report) -> str:
    """The whole report for a terminal."""
    lines = [f"{key}: {value}" for key, value in (report.about | report.versions).items()]
    for result in report.results:
        lines += ["", f"{result.name}: {result.title} ({_rounds(result)})"]
        rows = table(result)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines += ["  " + "   ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
        lines += [f"  {name}: not measured: {reason}" for name, reason in result.failed.items()]
    return "\n".join(lines)


def as_markdown(report: Report) -> str:
    """The whole report for a document."""
    lines = [f"- {key}: {value}" for key, value in (report.about | report.versions).items()]
    for result in report.results:
        lines += ["", f"### {result.name}", "", f"{result.title}; {_rounds(result)}.", ""]
        header, *rows = table(result)
        lines += [_markdown(header), "| --- |" + " ---: |" * (len(header) - 1), *map(_markdown, rows)]
        lines += [f"\nNot measured: {name}, {reason.splitlines()[0]}" for name, reason in result.failed.items()]
    return "\n".join(lines)


def _markdown(row: Row) -> str:
    return "| " + " | ".join(row) + " |"


def _rounds(result: Result) -> str:
    count = max(map(len, result.rounds.values()), default=0)
    return "one round" if count == 1 else f"medians of {count} interleaved rounds"


def insert(document: str, numbers: str) -> str:
    """``document`` with what stands between its markers replaced. Raises ``ValueError`` when it has none."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{BEGIN} and {END} are needed")
    return f"{before}{BEGIN}\n{numbers}\n{END}{after}"


def main() -> None:
    """Entry point of ``python -m benchmarks.report``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--into", type=Path, help="document to renew; absent: print tables")
    options = parser.parse_args()
    report = Report.from_json(options.results.read_text())
    if options.into is None:
        print(as_text(report))
        return
    options.into.write_text(insert(options.into.read_text(), as_markdown(report)))


if __name__ == "__main__":
    main()
