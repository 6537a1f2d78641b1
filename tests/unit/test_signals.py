"""A terminal that is closed ends the gateway in order, unless it was started to outlive it."""

from __future__ import annotations

import signal

from pixiu_py.signals import stop_signals


def test_a_terminal_that_is_closed_is_a_reason_to_end() -> None:
    assert stop_signals() == (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def test_what_is_to_outlive_its_terminal_does() -> None:
    """``nohup`` starts it with the signal ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert stop_signals() == (signal.SIGTERM, signal.SIGINT)
    finally:
        signal.signal(signal.SIGHUP, before)
