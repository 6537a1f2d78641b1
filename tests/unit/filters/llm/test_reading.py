"""Rules of reading along: what is kept, what is dropped, and that trouble stays here."""

from __future__ import annotations

import gzip

import pytest

from pixiu_py.filters.llm.reading import DocumentReading, EventReading, Watch, watch
from pixiu_py.http.headers import Headers
from pixiu_py.http.inflate import UnreadableError

LIMITS = {"max_document": 100, "max_event": 1024, "max_decoded": 1000}


def over(content_type, encoding=""):
    fields = {"Content-Type": content_type, "Content-Encoding": encoding}
    return watch(Headers.of(fields), **LIMITS)


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("application/json", DocumentReading),
        ("Application/JSON ; charset=utf-8", DocumentReading),
        ("text/event-stream;charset=utf-8", EventReading),
    ],
)
def test_what_is_read(content_type, kind):
    assert type(over(content_type).reading) is kind


@pytest.mark.parametrize("content_type", ["", "text/html", "application/jsonl", "image/png"])
def test_what_is_not(content_type):
    assert over(content_type) is None


def test_an_answer_without_content_type_is_not_read():
    assert watch(Headers(), **LIMITS) is None


def test_a_document_above_the_limit_is_let_go():
    reading = DocumentReading(10)
    reading.feed(b"12345", 0.0)
    reading.feed(b"67890", 0.0)
    with pytest.raises(UnreadableError, match="too_large"):
        reading.feed(b"1", 0.0)
    assert reading._parts == []


def test_a_document_is_read_at_its_end():
    reading = DocumentReading(100)
    reading.feed(b'{"usage": {"total_', 0.0)
    reading.feed(b'tokens": 3}}', 0.0)
    assert reading.collector.usage is None
    reading.close(0.0)
    assert reading.collector.usage.total_tokens == 3


def test_times_are_those_of_the_chunk_that_completed_the_event():
    reading = EventReading(1024)
    reading.feed(b": comment\n\ndata: a", 1.0)
    assert (reading.first_token, reading.last_token) == (0.0, 0.0)
    reading.feed(b"\n\n", 2.0)
    reading.feed(b"data: b\n\n", 3.0)
    reading.feed(b"data: [DONE]\n\n: comment\n\n", 4.0)
    assert (reading.first_token, reading.last_token) == (2.0, 3.0)


def test_the_last_event_counts_also_without_a_blank_line():
    reading = EventReading(1024)
    reading.feed(b'data: {"usage": {"total_tokens": 3}}', 1.0)
    reading.close(1.0)
    assert reading.collector.usage.total_tokens == 3


def test_one_broken_event_does_not_end_the_reading():
    reading = EventReading(1024)
    reading.feed(b'data: {"usage": {broken\n\ndata: {"usage": {"total_tokens": 3}}\n\n', 1.0)
    assert reading.collector.usage.total_tokens == 3


def test_an_oversized_event_is_trouble_only_if_nothing_was_counted():
    stream = b"data: " + b"x" * 5000 + b"\n\n"
    reading = EventReading(1024)
    reading.feed(stream, 1.0)
    with pytest.raises(UnreadableError, match="too_large"):
        reading.close(1.0)
    reading = EventReading(1024)
    reading.feed(stream + b'data: {"usage": {"total_tokens": 3}}\n\n', 1.0)
    reading.close(1.0)
    assert reading.collector.usage.total_tokens == 3


@pytest.mark.parametrize(
    ("encoding", "data", "problem"),
    [
        ("compress", b"x", "encoding"),
        ("gzip", b"no gzip", "malformed"),
        ("gzip", gzip.compress(b" " * 10_000, mtime=0), "too_large"),
        ("", b" " * 101, "too_large"),
        ("", b"{", "malformed"),
    ],
)
def test_a_watch_never_raises_but_tells_the_first_trouble(encoding, data, problem):
    found = over("application/json", encoding)
    for _ in range(2):
        found.feed(data, 0.0)
    found.close(0.0)
    assert found.problem == problem


def test_trouble_at_the_end_does_not_take_back_what_was_counted():
    packed = gzip.compress(b'data: {"usage": {"total_tokens": 3}}\n\n')
    found = Watch(EventReading(1024), "gzip", 1000)
    found.feed(packed + b"trailing rubbish", 0.0)
    found.close(0.0)
    assert found.problem == "malformed"
    found = Watch(EventReading(1024), "gzip", 1000)
    found.feed(packed, 0.0)
    found.feed(b"trailing rubbish", 0.0)
    assert found.reading.collector.usage.total_tokens == 3
