"""An answer on its way to the client: whole events, an honest end, and an exchange that knows how it ended."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from pixiu_py.errors import ClientGone, UpstreamReset
from pixiu_py.filters.llm.dialect import CHAT, OTHER, Dialect
from pixiu_py.filters.llm.proxy.stream import EventStreamBody, EventStreamSink
from pixiu_py.filters.proxy import TimedBody
from pixiu_py.http.body import Sink
from pixiu_py.http.exchange import Exchange
from pixiu_py.http.passage import Passage
from tests.fakes.bodies import DONE, chat_events, chunk_event
from tests.fakes.exchange import FramedSink, ListSink, make_exchange

#: Largest event that is kept whole.
LIMIT = 64 * 1024


class Scripted:
    """A response that pipes these pieces, then ends or raises."""

    length: int | None = 10

    def __init__(self, pieces: list[bytes], error: BaseException | None = None, hold: bool = False) -> None:
        self._pieces = pieces
        self._error = error
        self._hold = hold
        self.aborted = False

    async def pipe(self, sink: Sink) -> None:
        for piece in self._pieces:
            sink.write(piece)
        if self._hold:
            await asyncio.Event().wait()
        if self._error is not None:
            raise self._error
        sink.finish()

    def abort(self) -> None:
        self.aborted = True


def body_of(response: Any, dialect: Dialect = CHAT) -> tuple[EventStreamBody, Exchange]:
    """The body of an exchange of its own."""
    exchange = make_exchange()
    return EventStreamBody(response, dialect, exchange, LIMIT), exchange


async def send(response: Any, dialect: Dialect = CHAT) -> tuple[ListSink, str]:
    """What the client got, and how the exchange says that it broke."""
    sink = ListSink()
    body, exchange = body_of(response, dialect)
    await body.pipe(cast(Any, sink))
    return sink, exchange.end_reason


async def test_whole_stream_passes_untouched() -> None:
    """Piece for piece."""
    sink, broken = await send(Scripted(chat_events("a")))
    assert (sink.chunks, sink.finished, broken) == (chat_events("a"), True, "")


async def test_break_adds_one_error_event() -> None:
    """And the half event before it is dropped."""
    sink, broken = await send(Scripted([chunk_event("a"), b'data: {"ha'], UpstreamReset()))
    assert sink.content.startswith(chunk_event("a") + b'data: {"error"')
    assert (sink.finished, broken) == (True, "reset")


async def test_early_end_is_a_break() -> None:
    """Well for HTTP, but not for the API."""
    sink, broken = await send(Scripted([chunk_event("a")]))
    assert b"truncated" in sink.content
    assert broken == "truncated"


async def test_break_after_the_end_is_none() -> None:
    """``[DONE]`` has come: only the framing is missing, and the client has everything."""
    sink, broken = await send(Scripted(chat_events("a"), UpstreamReset()))
    assert (sink.content, sink.finished, broken) == (b"".join(chat_events("a")), True, "")


async def test_last_event_without_its_empty_line_is_sent() -> None:
    """A server that forgets it has finished all the same."""
    sink, broken = await send(Scripted([chunk_event("a", "stop"), DONE.rstrip(b"\n")]))
    assert sink.content == chunk_event("a", "stop") + DONE.rstrip(b"\n")
    assert broken == ""


async def test_unknown_api_breaks_like_the_known_ones() -> None:
    """It has no end of its own, so that every break is one."""
    sink, broken = await send(Scripted([b"data: x\n\n"], UpstreamReset()), OTHER)
    assert b'"error"' in sink.content
    assert broken == "reset"


async def test_events_that_come_with_an_early_end_are_sent() -> None:
    """Only the half event behind them is left out."""

    class Last(Scripted):
        async def pipe(self, sink: Sink) -> None:
            sink.finish(chunk_event("a") + chunk_event("b") + b"data: ha")

    sink, _ = await send(Last([]))
    assert sink.content.startswith(chunk_event("a") + chunk_event("b") + b'data: {"error"')


async def test_break_within_a_very_long_event_breaks_off() -> None:
    """Part of it has been sent: an error event would be taken for its rest."""
    with pytest.raises(UpstreamReset):
        await send(Scripted([chunk_event("a"), b"data: " + b"x" * LIMIT + b"y"], UpstreamReset()))


async def test_break_after_a_very_long_event_ends_well() -> None:
    """The client is between two events again."""
    sink, _ = await send(Scripted([b"data: " + b"x" * LIMIT + b"y", b"z\n\n", b"data: ha"], UpstreamReset()))
    assert sink.content.partition(b"z\n\n")[2].startswith(b'data: {"error"')


async def test_client_that_leaves_blames_nobody() -> None:
    """Its error passes through."""
    with pytest.raises(ClientGone):
        await send(Scripted([], ClientGone()))


async def test_deadline_ends_a_stream() -> None:
    """With an error event, as any other break."""
    deadline = asyncio.get_running_loop().time() + 0.02
    sink, broken = await send(TimedBody(Scripted([chunk_event("a")], hold=True), deadline))
    assert broken == "timeout_total"
    assert b"timeout_total" in sink.content


def test_stream_states_no_length() -> None:
    """One event may be added, whatever the endpoint has stated."""
    assert body_of(Scripted([]))[0].length is None


def test_abort_lets_go_of_the_response() -> None:
    """What nobody wants is not fetched."""
    response = Scripted([])
    body_of(response)[0].abort()
    assert response.aborted


# --- whole events ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n", b"\r\n\n"])
def test_events_are_passed_on_whole(end: bytes) -> None:
    """However they are cut, with each of the line ends that a stream may have."""
    text = b"data: one" + end + b"data: two" + end
    for cut in range(len(text) + 1):
        sink = ListSink()
        events = EventStreamSink(cast(Any, sink), LIMIT)
        events.write(text[:cut])
        assert sink.content in (b"", b"data: one" + end, text) or not sink.content.strip(b"\r\n")
        events.write(text[cut:])
        assert sink.content + events.take_rest() == text


def test_event_without_end_is_not_collected_for_ever() -> None:
    """Above the limit it is sent on in pieces: memory is bounded."""
    sink = ListSink()
    events = EventStreamSink(cast(Any, sink), LIMIT)
    events.write(b"data: " + b"x" * LIMIT)
    assert len(sink.content) > LIMIT


@pytest.mark.parametrize("first", [b":\n\n", b"\n\n", b"\r\r", b"x\n\n"])
def test_short_event_does_not_wait_for_the_next_one(first: bytes) -> None:
    """A heartbeat that comes together with the beginning of an event."""
    sink = ListSink()
    EventStreamSink(cast(Any, sink), LIMIT).write(first + b"data: ha")
    assert sink.content == first


def test_full_sink_is_passed_back() -> None:
    """Back-pressure reaches the endpoint."""
    events = EventStreamSink(cast(Any, ListSink(room=1)), LIMIT)
    assert events.write(b"data: 1\n\n") is False
    assert events.write(b"data: ha") is True


def test_whole_event_keeps_its_framing() -> None:
    """Only what has to be held and joined goes on without."""
    sink = FramedSink()
    events = EventStreamSink(cast(Any, sink), LIMIT)
    for chunk in (b"data: 1\n\n", b"data: 2\n", b"\n", b"data: 3\n\n"):
        assert events.write_framed(b"%x\r\n%b\r\n" % (len(chunk), chunk), chunk)
    assert sink.chunks == [b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n"]
    assert sink.framed == [b"9\r\ndata: 1\n\n\r\n", b"9\r\ndata: 3\n\n\r\n"]
    assert events.last_events == sink.content


class Passable(ListSink):
    """Lets whole chunks pass."""

    def passage(self) -> Passage:
        return Passage(cast(Any, None), cast(Any, None), cast(Any, None))


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_events_that_pass_are_remembered_without_their_framing(end: bytes) -> None:
    """They tell whether the stream was complete, as any other does; what they have to end with is what the last one did."""
    events = EventStreamSink(cast(Any, Passable()), LIMIT)
    assert events.passage() is None  # nothing has been seen of this stream
    events.write(b"data: 1" + end)
    passage = events.passage()
    assert passage is not None
    framed = b"%x\r\ndata: 2%b\r\n" % (7 + len(end), end)
    assert framed[passage.cut :] == passage.ends
    passage.last = framed
    assert (events.last_events, events.torn) == (b"data: 1" + end + b"data: 2" + end, False)


def test_nothing_passes_what_is_held() -> None:
    """An event that goes on in the next chunk would be torn apart."""
    events = EventStreamSink(cast(Any, Passable()), LIMIT)
    events.write(b"data: 1\n\ndata: 2\n")
    assert events.passage() is None
    events.write(b"\n")
    assert events.passage() is not None


def test_sink_that_lets_nothing_pass_is_not_passed() -> None:
    events = EventStreamSink(cast(Any, ListSink()), LIMIT)
    events.write(b"data: 1\n\n")
    assert events.passage() is None


def test_sink_that_takes_no_framing_gets_none() -> None:
    sink = ListSink()
    assert EventStreamSink(cast(Any, sink), LIMIT).write_framed(b"9\r\ndata: 1\n\n\r\n", b"data: 1\n\n")
    assert sink.chunks == [b"data: 1\n\n"]
