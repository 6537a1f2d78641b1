"""Event streams: told where they tell their usage, untouched everywhere else, never held up for a token."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from pixiu_py.errors import StreamTruncated, UpstreamProtocolError
from pixiu_py.filters.llm import dialect
from pixiu_py.filters.llm.promptcache.account import Account
from pixiu_py.filters.llm.promptcache.blocks import CHAT, MESSAGES, RESPONSES, Api
from pixiu_py.filters.llm.promptcache.classify import Outcome
from pixiu_py.filters.llm.promptcache.events import EventBody, EventSink, edited, is_last, tells_error, usage_in
from pixiu_py.filters.llm.promptcache.usage import Split
from pixiu_py.http.body import Sink
from pixiu_py.http.inflate import Inflater
from tests.fakes.exchange import FramedSink, ListSink

DIALECTS = {"chat": dialect.CHAT, "messages": dialect.MESSAGES, "responses": dialect.RESPONSES}
DONE = b"data: [DONE]\n\n"
SPLIT = Split(5, 3)


class Pieces:
    """A body that comes in pieces, respecting back-pressure."""

    length: int | None = None

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces
        self.aborted = False

    async def pipe(self, sink: Sink) -> None:
        for piece in self._pieces:
            if not sink.write(piece):
                await sink.drain()
        sink.finish()

    def abort(self) -> None:
        self.aborted = True


def event(data: Any, name: str = "", end: bytes = b"\n") -> bytes:
    head = b"event: %b%b" % (name.encode(), end) if name else b""
    return b"%bdata: %b%b%b" % (head, orjson.dumps(data), end, end)


def token(content: str, **more: Any) -> bytes:
    return event({"choices": [{"delta": {"content": content}, "finish_reason": None}], **more})


USAGE = {"prompt_tokens": 10, "completion_tokens": 2}
FINISH = event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
LAST = event({"choices": [], "usage": USAGE})
STREAM = token("a") + b": comment\n\n" + token("b") + FINISH + LAST + DONE


def account(api: Api = CHAT, split: Split | None = SPLIT, **fields: Any) -> Account:
    made = Account(api, {}, "alice", "m")
    made.is_active = True
    if split is not None:
        made.task = asyncio.get_running_loop().create_future()  # type: ignore[assignment]
        made.task.set_result(Outcome(split))  # type: ignore[attr-defined,union-attr]
    for name, value in fields.items():
        setattr(made, name, value)
    return made


async def piped(it: Account, pieces: Sequence[bytes], sink: ListSink | None = None, **options: Any) -> bytes:
    sink = sink or ListSink()
    values = {"max_event": 2**20, "timeout": 5.0, **options}
    await EventBody(Pieces(pieces), it, DIALECTS[it.api.name], **values).pipe(sink)
    assert sink.finished
    return sink.content


def told(stream: bytes) -> list[Any]:
    """The usage objects of a stream."""
    documents = [orjson.loads(line[6:]) for line in stream.splitlines() if line.startswith(b"data: {")]
    found = [usage_in(document)[1] for document in documents]
    return [usage for usage in found if usage is not None]


def pieces(stream: bytes, size: int) -> list[bytes]:
    return [stream[at : at + size] for at in range(0, len(stream), size)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 10_000])
async def test_only_the_usage_changes_wherever_the_stream_is_cut(size: int) -> None:
    it = account()
    said = await piped(it, pieces(STREAM, size))
    before, after = said.split(b'"usage":')
    assert before == (STREAM.split(b'"usage":'))[0]
    assert after.endswith(b"}\n\n" + DONE)
    (usage,) = told(said)
    assert usage["cache_read_input_tokens"] == 5
    assert usage["prompt_tokens"] == 10
    assert it.veto() == ""


async def test_chunks_without_usage_pass_as_the_objects_they_are() -> None:
    chunk = token("a")
    sink = ListSink()
    await piped(account(), [chunk, DONE], sink)
    assert sink.chunks[0] is chunk


async def test_a_chunk_in_its_framing_keeps_it_unless_it_is_changed() -> None:
    """Making it anew costs more than looking at it."""
    sink = FramedSink()
    events = EventSink(sink, account(), 2**20, 5.0, None)
    for chunk in (token("a"), LAST, token("b")[:9], token("b")[9:], DONE):
        events.write_framed(b"%x\r\n%b\r\n" % (len(chunk), chunk), chunk)
    assert [framed.split(b"\r\n")[1] for framed in sink.framed] == [token("a"), DONE]
    assert told(sink.content)[0]["cache_read_input_tokens"] == 5
    assert sink.content.endswith(token("b") + DONE)
    plain = ListSink()
    EventSink(plain, account(), 2**20, 5.0, None).write_framed(b"framed", token("a"))
    assert plain.content == token("a")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
async def test_line_ends_are_kept(end: bytes) -> None:
    stream = b"data:%b%b%bid: 7%b%b" % (orjson.dumps({"usage": USAGE, "choices": []}), end, b"retry: 1" + end, end, end)
    said = await piped(account(), pieces(stream + b"data: [DONE]" + end + end, 5))
    head, _, tail = said.partition(end)
    assert head.startswith(b'data:{"usage":{"prompt_tokens":10,')
    assert b"cache_read_input_tokens" in head
    assert tail == b"retry: 1%bid: 7%b%bdata: [DONE]%b%b" % (end, end, end, end, end)


async def test_usage_in_every_frame_is_told_in_every_frame() -> None:
    stream = [token("a", usage=USAGE), token("b", usage=USAGE), FINISH, LAST, DONE]
    it = account()
    assert [usage["cache_read_input_tokens"] for usage in told(await piped(it, stream))] == [5, 5, 5]
    assert it.tokens.read == 5


async def test_null_usage_is_none() -> None:
    stream = [token("a", usage=None), LAST, DONE]
    assert (await piped(account(), stream)).startswith(stream[0])


async def test_the_frame_that_we_asked_for_is_hidden() -> None:
    it = account(hides_usage=True)
    assert await piped(it, pieces(STREAM, 9)) == STREAM.replace(LAST, b"")
    assert it.tokens[:3] == (10, 2, 5)
    assert it.veto() == ""


async def test_anthropic_streams_are_told_at_their_beginning_and_their_end() -> None:
    stream = (
        event(
            {"type": "message_start", "message": {"usage": {"input_tokens": 10, "output_tokens": 1}}}, "message_start"
        )
        + event({"type": "content_block_delta", "delta": {"text": "a"}}, "content_block_delta")
        + event({"type": "message_delta", "usage": {"output_tokens": 7}}, "message_delta")
        + event({"type": "message_stop"}, "message_stop")
    )
    it = account(MESSAGES)
    first, last = told(await piped(it, pieces(stream, 11)))
    assert (first["input_tokens"], first["cache_read_input_tokens"]) == (2, 5)
    assert (last["input_tokens"], last["cache_read_input_tokens"], last["output_tokens"]) == (2, 5, 7)
    assert it.veto() == ""


async def test_responses_streams_are_told_in_their_last_event() -> None:
    done = {
        "type": "response.completed",
        "response": {"error": None, "usage": {"input_tokens": 10, "output_tokens": 1}},
    }
    it = account(RESPONSES)
    (usage,) = told(await piped(it, [event({"type": "response.created", "response": {"usage": None}}), event(done)]))
    assert usage["input_tokens_details"] == {"cached_tokens": 5, "cache_write_tokens": 3}
    assert it.veto() == ""


async def test_data_over_several_lines_is_put_on_one() -> None:
    stream = b'id: 1\ndata: {"choices":[],\ndata: "usage":{"prompt_tokens":10}}\nretry: 5\n\n'
    said = await piped(account(), [stream, DONE])
    assert said.startswith(b'id: 1\ndata: {"choices":[], "usage":{"prompt_tokens":10,')
    assert b"\nretry: 5\n\n" in said
    assert told(said)[0]["cache_read_input_tokens"] == 5


def test_an_event_is_edited_in_its_data_only() -> None:
    assert edited(b"id: 1\r\ndata: {}\r\n\r\n", b"{}", b'{"a":1}') == b'id: 1\r\ndata: {"a":1}\r\n\r\n'
    assert edited(b"data: {\r\ndata\r\ndata:}\r\nid: 1\r\n\r\n", b"{\n\n}", b"{\n\n}") == b"data: {  }\r\nid: 1\r\n\r\n"


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "document", "expected"),
    [
        ("message", {"error": {"message": "x"}}, True),
        ("message", {"error": "x"}, True),
        ("message", {"error": None}, False),
        ("message", {"type": "error"}, True),
        ("error", {}, True),
        ("message", {"type": "response.failed"}, True),
        ("message", {"choices": []}, False),
    ],
)
def test_what_is_an_error(name: str, document: dict[str, Any], expected: bool) -> None:
    assert tells_error(name, document) is expected


@pytest.mark.parametrize(
    ("extra", "veto"),
    [
        (event({"error": {"message": "x"}}), "error_frame"),
        (event({"message": "x"}, "error"), "error_frame"),
        (event({"choices": [], "error": None}), ""),
        (event({"choices": [{"delta": {"content": '"error":{}'}}]}), ""),
    ],
)
async def test_an_error_earns_nothing(extra: bytes, veto: str) -> None:
    it = account()
    stream = token("a") + extra + LAST + DONE
    said = await piped(it, pieces(stream, 13))
    assert said.replace(b" ", b"").startswith((token("a") + extra).replace(b" ", b""))
    assert it.veto() == veto


async def test_a_stream_that_does_not_come_to_its_end_earns_nothing() -> None:
    it = account()
    await piped(it, [token("a"), event({"choices": [], "usage": USAGE})])
    assert it.veto() == "incomplete"


async def test_a_stream_without_usage_is_untouched_and_earns_nothing() -> None:
    it = account()
    stream = token("a") + FINISH + DONE
    assert await piped(it, pieces(stream, 3)) == stream
    assert it.veto() == "no_usage"


async def test_what_is_no_json_is_passed_on() -> None:
    stream = b'data: {"usage":{broken\n\ndata: ["usage":{}]\n\n' + DONE
    assert await piped(account(), pieces(stream, 4)) == stream


async def test_an_event_larger_than_is_read_is_passed_on_in_pieces() -> None:
    """Unchanged, and what follows is still told."""
    large = token("x" * 5000, usage=USAGE)
    said = await piped(account(), pieces(large + LAST + DONE, 700), max_event=1024)
    assert said.startswith(large)
    assert told(said)[-1]["cache_read_input_tokens"] == 5


async def test_one_chunk_of_many_events_is_no_large_event() -> None:
    stream = token("x" * 100) * 100
    assert (await piped(account(), [stream + LAST + DONE], max_event=1024)).startswith(stream)


async def test_a_stream_that_ends_within_an_event_keeps_its_bytes() -> None:
    assert await piped(account(), [token("a"), b'data: {"cho']) == token("a") + b'data: {"cho'


# --- waiting ---------------------------------------------------------------------------------------------------------


class Waiting:
    """A sink before a client, and a classification that is still under way."""

    def __init__(self, api: Api = CHAT, timeout: float = 5.0) -> None:
        self.sink = ListSink()
        self.account = account(api, split=None)
        self.known: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.account.task = self.known  # type: ignore[assignment]
        self.events = EventSink(self.sink, self.account, 2**20, timeout, None)

    def decide(self) -> None:
        self.known.set_result(Outcome(SPLIT))


async def test_tokens_are_not_held_up() -> None:
    """Nor is a running total that comes with one: it tells what is known by then."""
    it = Waiting()
    first = token("a", usage=USAGE)
    assert it.events.write(first)
    assert told(it.sink.content)[0]["cache_read_input_tokens"] == 0
    assert it.events.write(token("b"))
    assert it.sink.content.endswith(token("b"))


async def test_the_usage_waits_and_what_came_before_it_does_not() -> None:
    it = Waiting()
    assert not it.events.write(token("a") + LAST + DONE), "full: nothing more is taken from the endpoint"
    assert it.sink.content == token("a")
    waiting = asyncio.get_running_loop().create_task(it.events.drain())
    await asyncio.sleep(0)
    assert not it.events.write(b": heartbeat\n\n"), "what comes all the same keeps its place"
    assert it.sink.content == token("a")
    it.decide()
    await waiting
    assert it.sink.content.startswith(token("a") + b"data: ")
    assert it.sink.content.endswith(DONE + b": heartbeat\n\n")
    assert told(it.sink.content)[0]["cache_read_input_tokens"] == 5
    assert it.events.write(b": more\n\n")


async def test_usage_that_comes_with_the_end_waits_too() -> None:
    it = Waiting()
    it.events.finish(token("a") + LAST + DONE)
    settling = asyncio.get_running_loop().create_task(it.events.settle(dialect.CHAT))
    await asyncio.sleep(0)
    assert (it.sink.content, it.sink.finished) == (token("a"), False)
    it.decide()
    await settling
    assert it.sink.finished
    assert told(it.sink.content)[0]["cache_read_input_tokens"] == 5
    assert it.account.veto() == ""


async def test_the_first_event_of_an_anthropic_stream_never_waits() -> None:
    it = Waiting(MESSAGES)
    assert it.events.write(event({"type": "message_start", "message": {"usage": {"input_tokens": 10}}}))
    assert told(it.sink.content)[0]["input_tokens"] == 10
    assert not it.events.write(event({"type": "message_delta", "usage": {"output_tokens": 7}}))
    it.decide()
    await it.events.drain()
    assert told(it.sink.content)[1] == {
        "output_tokens": 7,
        "input_tokens": 2,
        "cache_read_input_tokens": 5,
        "cache_creation_input_tokens": 3,
        "cache_creation": {
            "ephemeral_5m_input_tokens": 3,
            "ephemeral_1h_input_tokens": 0,
            "ephemeral_24h_input_tokens": 0,
        },
    }


async def test_a_classification_that_is_late_gives_zeros_and_the_stream_goes_on() -> None:
    it = Waiting(timeout=0.001)
    assert not it.events.write(LAST)
    await it.events.drain()
    assert told(it.sink.content)[0]["cache_read_input_tokens"] == 0
    assert it.known.cancelled()


@pytest.mark.parametrize(
    ("api", "document", "expected"),
    [
        (CHAT, {"choices": []}, True),
        (CHAT, {"choices": [{"finish_reason": None}]}, False),
        (CHAT, {"choices": [{"finish_reason": "stop"}]}, True),
        (CHAT, {}, True),
        (MESSAGES, {"type": "message_start"}, False),
        (MESSAGES, {"type": "message_delta"}, True),
        (RESPONSES, {"type": "response.completed"}, True),
    ],
)
def test_which_usage_can_be_the_last_word(api: Api, document: dict[str, Any], expected: bool) -> None:
    assert is_last(api.name, document) is expected


# --- compressed ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 10, 10_000])
async def test_a_compressed_stream_is_told_and_sent_uncompressed(size: int) -> None:
    it = account()
    said = await piped(it, pieces(gzip.compress(STREAM), size), inflater=Inflater("gzip", 10**6))
    assert said.startswith(STREAM.split(b'"usage":')[0])
    assert told(said)[0]["cache_read_input_tokens"] == 5


async def test_a_compressed_stream_that_breaks_is_not_taken_for_a_whole() -> None:
    with pytest.raises(StreamTruncated):
        await piped(account(), [gzip.compress(STREAM)[:-9]], inflater=Inflater("gzip", 10**6))
    with pytest.raises(UpstreamProtocolError):
        await piped(account(), [b"no gzip at all"], inflater=Inflater("gzip", 10**6))
    with pytest.raises(UpstreamProtocolError, match="too_large"):
        await piped(account(), [gzip.compress(STREAM)], inflater=Inflater("gzip", 10))


async def test_letting_go_lets_go_of_the_endpoint() -> None:
    body = Pieces([])
    EventBody(body, account(), dialect.CHAT, 100, 5.0).abort()
    assert body.aborted
