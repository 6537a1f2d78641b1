"""The benchmarks' own arithmetic: medians, ratios within a round, what is written and read back."""

import dataclasses
import xml.etree.ElementTree as ET

import pytest

from benchmarks.bench import Metric, Result
from benchmarks.report import BEGIN, END, Report, as_markdown, insert, ratio, table
from benchmarks.scenarios.latency import percentile
from benchmarks.svg import draw

CPU = Metric("cpu_us", "CPU per request", "µs")


@pytest.fixture
def result() -> Result:
    rounds = {"gateway": [10.0, 20.0, 90.0], "go": [20.0, 40.0, 60.0]}
    return Result(
        "plain", "Requests", (CPU,), {name: [{"cpu_us": v} for v in values] for name, values in rounds.items()}
    )


def test_median_is_over_the_rounds(result: Result) -> None:
    assert result.median("gateway", "cpu_us") == 20.0
    assert result.median("nginx", "cpu_us") is None


def test_ratio_is_taken_within_each_round(result: Result) -> None:
    """0.5, 0.5 and 1.5: the median of these, whatever drifted from round to round."""
    assert ratio(result, CPU, "gateway", "go") == 0.5


def test_ratio_is_left_out_when_a_value_is_not_positive(result: Result) -> None:
    result.rounds["go"] = [{"cpu_us": 0.0}] * 3
    assert ratio(result, CPU, "gateway", "go") is None


def test_ratio_is_left_out_for_a_metric_without_a_better_side(result: Result) -> None:
    assert ratio(result, dataclasses.replace(CPU, better=""), "gateway", "go") is None


def test_table_has_medians_and_ratios(result: Result) -> None:
    assert table(result) == [
        ["", "gateway", "go", "gateway / go"],
        ["CPU per request, µs", "20.0", "40.0", "0.50"],
    ]


def test_values_of_one_round_are_merged(result: Result) -> None:
    """Two subjects of one name add to the same round."""
    result.record("gateway", 1, {"rps": 5.0})
    assert result.rounds["gateway"][1] == {"cpu_us": 20.0, "rps": 5.0}


def test_json_reads_back_as_the_same_report(result: Result) -> None:
    report = Report({"cores": "2"}, {"go": "go1"}, [result])
    assert Report.from_json(report.to_json()) == report


def test_markdown_replaces_only_what_stands_between_the_markers(result: Result) -> None:
    numbers = as_markdown(Report({"cores": "2"}, {"go": "go1"}, [result]))
    document = insert(f"before\n{BEGIN}\nold\n{END}\nafter\n", numbers)
    assert document == f"before\n{BEGIN}\n{numbers}\n{END}\nafter\n"
    assert "| CPU per request, µs | 20.0 | 40.0 | 0.50 |" in numbers
    with pytest.raises(ValueError, match="needed"):
        insert("no markers", numbers)


def test_svg_is_well_formed_and_has_a_bar_per_contender(result: Result) -> None:
    picture = ET.fromstring(draw(Report({}, {"a": "x < y & z"}, [result])))
    bars = [each for each in picture.iter("{http://www.w3.org/2000/svg}rect") if each.get("rx")]
    assert [float(bar.get("width", "0")) for bar in bars] == [pytest.approx(120.0), pytest.approx(240.0)]


def test_percentile_is_the_value_that_so_many_do_not_exceed() -> None:
    assert percentile([float(number) for number in range(1, 102)], 99) == 100.0
