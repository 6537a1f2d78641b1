"""What fails for each request is said once in a while."""

from __future__ import annotations

from pixiu_py.observability.seldom import QUIET, Seldom


def test_first_is_said_at_once_and_the_others_later_together() -> None:
    now = [0.0]
    seldom = Seldom(lambda: now[0])
    assert [seldom.happened() for _ in range(5)] == [1, 0, 0, 0, 0]
    now[0] += QUIET
    assert [seldom.happened() for _ in range(2)] == [5, 0]
