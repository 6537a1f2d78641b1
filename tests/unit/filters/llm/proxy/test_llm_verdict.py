"""What an outcome means: for the request, for the endpoint, and for how long to wait."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pixiu_py.filters.llm.proxy.verdict import Blame, Verdict, blame, judge, pause, retry_after
from pixiu_py.upstream.retry import RETRYABLE

FALL_BACK_ON = frozenset((401, 402, 403))


@pytest.mark.parametrize(
    ("statuses", "verdict", "blamed"),
    [
        ((200, 201, 204, 206, 301, 304), Verdict.ANSWER, Blame.SUCCESS),
        ((400, 404, 405, 409, 413, 415, 422, 501), Verdict.ANSWER, Blame.SUCCESS),
        ((401, 402, 403), Verdict.FALL_BACK, Blame.FAILURE),
        ((429,), Verdict.RETRY, Blame.REST),
        ((0, 408, 425, 500, 502, 503, 504), Verdict.RETRY, Blame.FAILURE),
    ],
)
def test_verdicts(statuses: tuple[int, ...], verdict: Verdict, blamed: Blame) -> None:
    """The table: a client's own fault is never tried again, nor is it the endpoint's."""
    for status in statuses:
        assert judge(status, RETRYABLE, FALL_BACK_ON) is verdict, status
        assert blame(status, verdict, own_key=True) is blamed, status


@pytest.mark.parametrize("status", [401, 402, 403])
def test_key_of_the_client_is_not_held_against_the_endpoint(status: int) -> None:
    """Else one client with a bad key could have every endpoint cool down for all."""
    assert blame(status, Verdict.FALL_BACK, own_key=False) is Blame.NOTHING
    assert blame(500, Verdict.RETRY, own_key=False) is Blame.FAILURE


def test_policies_may_say_otherwise() -> None:
    """Which statuses are retried is configuration; that no response is retried is not."""
    assert judge(418, {418}, ()) is Verdict.RETRY
    assert judge(503, {418}, ()) is Verdict.ANSWER
    assert judge(0, (), ()) is Verdict.RETRY
    assert judge(401, RETRYABLE, ()) is Verdict.ANSWER
    assert judge(503, RETRYABLE, {503}) is Verdict.FALL_BACK


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("1.5", 1.5),
        (formatdate(1030, usegmt=True), 30),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("1e3", None),
        ("²", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    """Seconds or a date (RFC 9110 section 10.2.3); what cannot be read has not been said."""
    assert retry_after(value, 1000.0) == seconds


@settings(deadline=None)
@given(st.one_of(st.text(max_size=30), st.text("0123456789 :-+,.JanThuGMTZ²٣", max_size=40)), st.floats(0, 1e11))
@example("9" * 400, 0.0)
def test_any_retry_after_is_a_time_or_none(value: str, wall: float) -> None:
    """It is the endpoint's, and must not stop anything."""
    seconds = retry_after(value, wall)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    ("delay", "asked", "elsewhere", "wait"),
    [
        (0.5, None, False, 0.5),
        (0.5, None, True, 0.5),
        (0.5, 0.2, True, 0.5),
        (0.5, 10, False, 10),
        (0.5, 10, True, None),
        (0.5, 30, False, 30),
        (0.5, 31, False, None),
        (0.0, 0.0, True, 0.0),
    ],
)
def test_pause(delay: float, asked: float | None, elsewhere: bool, wait: float | None) -> None:
    """Retry-After is waited for up to the policy's cap, and only where nobody else could answer meanwhile."""
    assert pause(delay, asked, 30, elsewhere) == wait
