"""How each API says that something failed, and how its streams end."""

from __future__ import annotations

import orjson
import pytest

from pixiu_py.filters.llm.dialect import CHAT, MESSAGES, OTHER, RESPONSES, Dialect, dialect_of, early_error
from tests.fakes.bodies import DONE, chunk_event, event, message_events


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/chat/completions", CHAT),
        ("/v1/completions", CHAT),
        ("/prefix/v1/messages", MESSAGES),
        ("/v1/responses", RESPONSES),
        ("/v1/embeddings", OTHER),
        ("/v1/messages/count_tokens", OTHER),
        ("/", OTHER),
    ],
)
def test_path_tells_the_api(path: str, dialect: Dialect) -> None:
    """By its end, whatever lies before."""
    assert dialect_of(path) is dialect


END = {
    "chat": (CHAT, DONE),
    "chat error": (CHAT, event({"error": {"message": "no"}})),
    "messages": (MESSAGES, message_events("a")[-1]),
    "messages error": (MESSAGES, event({"type": "error", "error": {}}, "error")),
    "responses": (RESPONSES, event({"type": "response.completed"}, "response.completed")),
    "responses cut by length": (RESPONSES, event({"type": "response.incomplete"})),
}


@pytest.mark.parametrize(("dialect", "last"), END.values(), ids=END.keys())
def test_last_event_is_recognised(dialect: Dialect, last: bytes) -> None:
    """Also behind other events, and an error of the endpoint's own is an end too."""
    for tail in (last, b"data: {}\n\n" + last, b"data: {}\r\n\r\n" + last):
        assert dialect.ended(tail)
        assert dialect.complete(tail)


@pytest.mark.parametrize("dialect", [CHAT, MESSAGES, RESPONSES])
def test_other_events_are_no_end(dialect: Dialect) -> None:
    """Neither content nor nothing at all."""
    for tail in (b"", chunk_event("hi"), event({"type": "content_block_delta"}), b": comment\n\n"):
        assert not dialect.ended(tail)
        assert not dialect.complete(tail)


def test_finish_reason_is_enough_for_a_clean_end_only() -> None:
    """Some servers never send ``[DONE]``; but a stream that broke after its finish reason may lack its usage."""
    assert CHAT.complete(chunk_event("", "stop"))
    assert not CHAT.ended(chunk_event("", "stop"))


@pytest.mark.parametrize("text", ["data: [DONE]", '"finish_reason":"stop"', 'x\ndata: {"error":1}'])
def test_generated_text_cannot_pass_for_an_end(text: str) -> None:
    """Inside of JSON the quotes and line ends are escaped."""
    assert not CHAT.complete(chunk_event(text))


@pytest.mark.parametrize("reason", [None, ""])
def test_no_finish_reason_is_none(reason: str | None) -> None:
    """Some servers send an empty one with each piece."""
    assert not CHAT.complete(chunk_event("hi", reason))


def test_unknown_api_may_end_anyhow() -> None:
    """It is complete whenever it ends, but a break is always a break."""
    assert OTHER.complete(b"data: x\n\n")
    assert not OTHER.ended(b"data: x\n\n")


@pytest.mark.parametrize("dialect", [CHAT, MESSAGES, RESPONSES, OTHER])
def test_error_event_is_one_event_with_json(dialect: Dialect) -> None:
    """Whatever the message: it cannot break out of its line, and the API's own end-detection takes it for an end."""
    text = dialect.error_event('a "quoted"\n\ntwo-line message', "reset")
    assert text.endswith(b"\n\n")
    assert text.count(b"\n\n") == 1
    data = text.partition(b"data: ")[2]
    assert "quoted" in str(orjson.loads(data))
    assert dialect is OTHER or dialect.ended(text)


@pytest.mark.parametrize(
    ("name", "data", "status"),
    [
        ("", b'{"error": {"message": "m", "code": 503}}', 503),
        ("", b'{"error": {"message": "m", "code": "429"}}', 429),
        ("", b'{"error": "m"}', 502),
        ("error", b'{"type": "error", "error": {"type": "overloaded_error", "message": "m"}}', 503),
        ("", b'{"error": {"message": "m", "code": 200}}', 502),
        ("", '{"error": {"message": "m", "code": "\u00b2"}}'.encode(), 502),
        ("", b'{"error": {"message": "m", "code": "%b"}}' % (b"4" * 5000), 502),
    ],
)
def test_error_in_an_event_has_a_status(name: str, data: bytes, status: int) -> None:
    """Its own where it says one, else that of its type, else 502."""
    assert early_error(name, data) == (status, "m")


def test_error_without_a_message_has_an_empty_one() -> None:
    """Not the word None."""
    assert early_error("", b'{"error": {"message": null}}') == (502, "")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("", b'{"choices": []}'),
        ("", b'{"text": "\\"error\\""}'),
        ("", b"[DONE]"),
        ("", b'["error"]'),
        ("", b'{"error": null}'),
    ],
)
def test_other_events_are_no_error(name: str, data: bytes) -> None:
    """The word alone makes none."""
    assert early_error(name, data) is None
