"""Problems have a place, an order, and no secrets in them."""

from __future__ import annotations

import pytest

from pixiu_py.config.report import Report


def messages(report: Report) -> list[str]:
    return [problem.message for problem in report.problems]


def test_the_place_is_that_of_the_nearest_block_in_the_file() -> None:
    report = Report("f")
    report.seen("a.b[1]", (4, 2))
    assert report.where("a.b[1].c.d[0]") == (4, 2)
    assert report.where("a.b[2]") == (1, 1)
    assert report.where("x") == (1, 1)


def test_problems_and_warnings_are_in_the_order_of_the_file() -> None:
    report = Report("f")
    report.problem("b", "second", (2, 1))
    report.problem("c", "first", (1, 9))
    report.warning("d", "warned", (1, 1))
    assert [str(problem) for problem in report.problems] == ["f:1:9: c: first", "f:2:1: b: second"]
    assert [str(warning) for warning in report.warnings] == ["f:1:1: d: warned"]


def test_a_trial_counts_only_once_it_is_absorbed() -> None:
    report = Report("f")
    trial = report.trial()
    trial.seen("a", (3, 3))
    trial.problem("a", "wrong")
    trial.warning("a", "odd")
    assert (report.problems, report.warnings) == ([], [])
    report.absorb(trial)
    assert (len(report.problems), len(report.warnings), report.where("a")) == (1, 1, (3, 3))


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ("sk-1234567", "got sk-1234567!"),
        ("sk-1234567", "got SK-1234567!"),
        ("it's\na key", 'got "it\'s\\na key"'),
        ("it's\na key", "got it's\na key"),
        ("12", "got '12'"),
        ("  padded-key ", "got 'padded-key'"),
    ],
)
def test_hidden_texts_do_not_show(secret: str, message: str) -> None:
    report = Report("f")
    report.hide(secret, "${KEY}")
    report.problem("a", message)
    assert secret.strip().lower() not in messages(report)[0].lower()
    assert "${KEY}" in messages(report)[0]


def test_a_short_hidden_text_does_not_blot_out_other_numbers() -> None:
    report = Report("f")
    report.hide("12", "${N}")
    report.problem("a", "on line 12")
    assert messages(report) == ["on line 12"]


def test_the_longer_of_two_hidden_texts_is_taken_out_first() -> None:
    report = Report("f")
    report.hide("password", "${A}")
    report.hide("password-2", "${B}")
    report.warning("a", "got password-2")
    assert report.warnings[0].message == "got ${B}"


def test_an_empty_value_hides_nothing() -> None:
    report = Report("f")
    report.hide("", "${EMPTY}")
    report.problem("a", "got ''")
    assert messages(report) == ["got ''"]
