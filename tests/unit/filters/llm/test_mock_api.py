"""What the mock's APIs have in common."""

from __future__ import annotations

from pixiu_py.filters.llm.mock.api import sse
from pixiu_py.http.sse import SseParser


def test_event_is_one_event_with_its_document() -> None:
    (event,) = SseParser().feed(sse({"a": "line\nbreak"}))
    assert (event.name, event.data) == ("message", b'{"a":"line\\nbreak"}')


def test_event_with_a_name() -> None:
    (event,) = SseParser().feed(sse({"type": "message_stop"}, "message_stop"))
    assert (event.name, event.data) == ("message_stop", b'{"type":"message_stop"}')
