"""Reading server-sent events. The standard's own examples are among the cases (WHATWG HTML 9.2.6)."""

from __future__ import annotations

import pytest

from pixiu_py.http.sse import Event, SseParser


def parse(stream: bytes, limit: int = 2**20) -> list[Event]:
    parser = SseParser(limit)
    return parser.feed(stream) + parser.close()


def seen(stream: bytes) -> list[tuple[str, bytes]]:
    """What a browser would see."""
    return [(event.name, event.data) for event in parse(stream) if event.data is not None and event.complete]


# --- fields ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [("message", b"a")]),
        (b"data:a\n\n", [("message", b"a")]),
        (b"data:  a \n\n", [("message", b" a ")]),
        (b"data: a: b\n\n", [("message", b"a: b")]),
        (b"data: a\ndata: b\n\n", [("message", b"a\nb")]),
        (b"data\n\n", [("message", b"")]),
        (b"data\ndata\n\n", [("message", b"\n")]),
        (b"data:\n\n", [("message", b"")]),
        (b"event: delta\ndata: a\n\n", [("delta", b"a")]),
        (b"data: a\nevent:delta\n\n", [("delta", b"a")]),
        (b"event: x\nevent: y\ndata: a\n\n", [("y", b"a")]),
        (b"event: x\nevent\ndata: a\n\n", [("message", b"a")]),
        (b"event: x\n\ndata: a\n\n", [("message", b"a")]),
        (b": comment\ndata: a\n\n", [("message", b"a")]),
        (b": comment\n\n", []),
        (b"\n\n\n", []),
        (b"id: 1\nretry: 9\nfoo: x\ndata: a\n\n", [("message", b"a")]),
        (b"Data: a\n\n data: a\n\n", []),
        (b"data: a\n", []),
        (b"", []),
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("message", b"YHOO\n+2\n10")]),
        (b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n", [
            ("message", b"first event"),
            ("message", b"second event"),
        ]),
    ],
)  # fmt: skip
def test_fields_are_read_as_the_standard_says(stream: bytes, events: list[tuple[str, bytes]]) -> None:
    assert seen(stream) == events


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_lines_end_in_lf_cr_or_crlf(end: bytes) -> None:
    stream = end.join([b"event: x", b"data: a", b"data: b", b"", b"data: c", b"", b""])
    assert seen(stream) == [("x", b"a\nb"), ("message", b"c")]


def test_line_ends_may_be_mixed() -> None:
    assert seen(b"data: a\rdata: b\r\ndata: c\n\r\ndata: d\r\n\ndata: e\n\r") == [
        ("message", b"a\nb\nc"),
        ("message", b"d"),
        ("message", b"e"),
    ]


def test_other_unicode_line_ends_are_text() -> None:
    text = "a\u2028b\x85c\x0b\x0c\x1cd".encode()
    assert seen(b"data: " + text + b"\n\n") == [("message", text)]


def test_a_bom_is_skipped_at_the_very_start_only() -> None:
    bom = b"\xef\xbb\xbf"
    assert seen(bom + b"data: a\n\n") == [("message", b"a")]
    assert seen(bom + bom + b"data: a\n\n") == []
    assert seen(b"data: a\n\n" + bom + b"data: b\n\n") == [("message", b"a")]
    assert seen(bom + b"\ndata: a\n\n") == [("message", b"a")]


def test_a_name_that_is_not_utf8_does_no_harm() -> None:
    assert seen(b"event: \xff\ndata: \xff\n\n") == [("\ufffd", b"\xff")]


# --- raw bytes -------------------------------------------------------------------------------------------------------


def test_each_event_keeps_its_bytes_with_the_blank_line() -> None:
    stream = [b"event: a\r\ndata: 1\r\n\r\n", b": ping\n\n", b"\n", b"data: 2\n\n", b"data: 3"]
    assert [event.raw for event in parse(b"".join(stream))] == stream


def test_the_bom_belongs_to_the_first_event() -> None:
    assert [event.raw for event in parse(b"\xef\xbb\xbf: x\n\ndata: a\n\n")] == [b"\xef\xbb\xbf: x\n\n", b"data: a\n\n"]


def test_a_blank_line_after_the_bom_is_blank() -> None:
    assert [event.raw for event in parse(b"\xef\xbb\xbf\ndata: a\n\n")] == [b"\xef\xbb\xbf\n", b"data: a\n\n"]


def test_what_holds_no_data_is_an_event_without_data() -> None:
    assert parse(b": ping\n\n") == [Event(b": ping\n\n", None)]
    assert parse(b"event: ping\n\n") == [Event(b"event: ping\n\n", None, "ping")]


def test_a_chunk_that_is_one_event_is_not_copied() -> None:
    chunk = b"data: a\n\n"
    [event] = SseParser().feed(chunk)
    assert event.raw is chunk


# --- chunks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stream",
    [
        b"\xef\xbb\xbfdata: \xc3\xa9\n\n",
        b"data: a\r\n\r\ndata: b\r\n\r\n",
        b"data: a\r\rdata: b\r\r",
        b"data: a\n\n\ndata: b\n\r\n",
        b"data: a\r\r\ndata: b\n\n",
    ],
)
def test_a_stream_cut_at_any_byte_gives_the_same_events(stream: bytes) -> None:
    for at in range(len(stream) + 1):
        parser = SseParser()
        assert parser.feed(stream[:at]) + parser.feed(stream[at:]) + parser.close() == parse(stream)


@pytest.mark.parametrize("stream", [b"data: a\n\n", b"data: a\r\n\r\n", b": x\r\rdata: a\r\r"])
def test_an_event_is_given_out_with_its_last_byte(stream: bytes) -> None:
    parser = SseParser()
    before = [event for byte in stream[:-1] for event in parser.feed(bytes([byte]))]
    assert [event.data for event in parser.feed(stream[-1:])] == [b"a"]
    assert all(event.data is None for event in before)


@pytest.mark.parametrize("line", [b"data: abc", b"x\r\ndata: abc"])
def test_bytes_that_hold_no_line_end_are_looked_through_once(line: bytes) -> None:
    parser = SseParser()
    parser.feed(line)
    assert parser._scan == len(parser._pending) == len(line)


def test_a_crlf_in_two_chunks_is_one_line_end() -> None:
    parser = SseParser()
    assert parser.feed(b"data: a\r\n\r") == []
    assert [event.raw for event in parser.feed(b"\ndata: b")] == [b"data: a\r\n\r\n"]


def test_a_late_lf_after_a_lone_cr_goes_to_the_next_event_and_is_no_blank_line() -> None:
    parser = SseParser()
    assert [event.raw for event in parser.feed(b"data: a\r\r")] == [b"data: a\r\r"]
    assert parser.feed(b"\n") == []
    assert [(event.raw, event.data) for event in parser.feed(b"data: b\n\n")] == [(b"\ndata: b\n\n", b"b")]


def test_a_cr_at_the_very_end_is_a_line_end() -> None:
    parser = SseParser()
    assert parser.feed(b"data: a\n\r") == []
    assert parser.close() == [Event(b"data: a\n\r", b"a")]


def test_a_stream_that_ends_within_an_event_says_so() -> None:
    assert parse(b"data: a\n\nevent: x\ndata: b") == [
        Event(b"data: a\n\n", b"a"),
        Event(b"event: x\ndata: b", b"b", "x", complete=False),
    ]


def test_nothing_pending_is_nothing_at_the_end() -> None:
    assert parse(b"data: a\n\n")[1:] == []


# --- limit -----------------------------------------------------------------------------------------------------------


def test_an_event_of_the_limit_is_read_and_one_byte_more_is_not() -> None:
    assert parse(b"data: a\n\n", limit=9) == [Event(b"data: a\n\n", b"a")]
    assert parse(b"data: a\n\n", limit=8) == [
        Event(b"data: a\n", oversized=True),
        Event(b"\n", oversized=True),
    ]


def test_an_oversized_event_passes_in_pieces_before_its_end_is_known() -> None:
    parser = SseParser(limit=4)
    assert parser.feed(b"data: 123") == [Event(b"data", oversized=True), Event(b": 12", oversized=True)]
    assert len(parser._pending) <= 4


def test_after_an_oversized_event_reading_goes_on() -> None:
    parser = SseParser(limit=16)
    parser.feed(b"data: " + b"x" * 100)
    *pieces, event = parser.feed(b"\n\ndata: a\n\n")
    assert all(piece.oversized and piece.data is None for piece in pieces)
    assert event == Event(b"data: a\n\n", b"a")


def test_a_line_end_inside_an_oversized_event_is_not_taken_for_a_blank_line() -> None:
    parser = SseParser(limit=4)
    *pieces, last = parser.feed(b"data: 12\nda\ndata: a\n\n:\n\n")
    assert [piece.raw for piece in pieces] == [b"data", b": 12", b"\nda\n", b"data", b": a\n", b"\n"]
    assert all(piece.oversized for piece in pieces)
    assert last == Event(b":\n\n")


def test_an_oversized_rest_is_neither_read_nor_complete() -> None:
    assert parse(b"data: 1", limit=4)[-1] == Event(b": 1", oversized=True, complete=False)


def test_the_bom_of_an_oversized_first_event_is_forgotten() -> None:
    *_, event = parse(b"\xef\xbb\xbfdata: 123456789\n\ndata: a\n\n", limit=9)
    assert event == Event(b"data: a\n\n", b"a")


def test_a_limit_below_a_bom_is_refused() -> None:
    with pytest.raises(ValueError, match="too small"):
        SseParser(limit=2)
