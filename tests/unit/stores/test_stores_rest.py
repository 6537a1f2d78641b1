"""A server that does not answer costs one call now and then."""

from __future__ import annotations

from pixiu_py.stores.rest import Rest


def test_calls_fail_until_one_may_try() -> None:
    """And whoever comes while it tries has to wait for what it finds."""
    now = [100.0]
    rest = Rest(5.0, lambda: now[0])
    assert rest.admits()
    rest.begin()
    assert not rest.admits()
    now[0] = 104.9
    assert not rest.admits()
    now[0] = 105.0
    assert [rest.admits(), rest.admits()] == [True, False]
    rest.end()
    assert [rest.admits(), rest.admits()] == [True, True]


def test_no_rest() -> None:
    """0 seconds: every call tries."""
    rest = Rest(0.0, lambda: 7.0)
    rest.begin()
    assert [rest.admits(), rest.admits()] == [True, True]
