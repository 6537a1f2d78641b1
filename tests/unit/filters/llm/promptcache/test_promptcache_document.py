"""JSON answers: their usage is changed and nothing else, and what is too large passes as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import orjson
import pytest

from pixiu_py.errors import UpstreamReset
from pixiu_py.filters.llm.promptcache.account import Account
from pixiu_py.filters.llm.promptcache.blocks import CHAT
from pixiu_py.filters.llm.promptcache.document import Collected, told_document
from pixiu_py.http.body import Sink
from pixiu_py.tasks import Tasks
from tests.fakes.exchange import ListSink, chunks_of

ANSWER = b'{ "id":1.500,"usage" : {"prompt_tokens":9,"completion_tokens":1},"x":"\\u00e9" }'


def account() -> Account:
    made = Account(CHAT, {}, "alice", "m")
    made.is_active = True
    return made


class Pieces:
    """A body that comes in pieces, and may break off."""

    length: int | None = None

    def __init__(self, pieces: Sequence[bytes], *, breaks: bool = False) -> None:
        self._pieces = pieces
        self._breaks = breaks
        self.aborted = False

    async def pipe(self, sink: Sink) -> None:
        sink.flush_head()
        for piece in self._pieces:
            if not sink.write(piece):
                await sink.drain()
            await asyncio.sleep(0)
        if self._breaks:
            raise UpstreamReset
        sink.finish(b"")

    def abort(self) -> None:
        self.aborted = True


def test_all_but_the_usage_stays_as_it_was() -> None:
    it = account()
    said = told_document(it, ANSWER)
    assert said.startswith(b'{ "id":1.500,"usage" : {"prompt_tokens":9,')
    assert said.endswith(b'},"x":"\\u00e9" }')
    assert orjson.loads(said.replace(b"1.500", b"1"))["usage"]["cache_read_input_tokens"] == 0
    assert it.veto() == ""
    assert it.tokens[:2] == (9, 1)


@pytest.mark.parametrize(
    "content", [b"", b"no json", b"[]", b"5", b"{}", b'{"usage":null}', b'{"usage":[]}', b'{"usage":5}']
)
def test_what_has_no_usage_stays_as_it_was(content: bytes) -> None:
    it = account()
    assert told_document(it, content) is content
    assert it.veto() == "no_usage"


def test_an_error_earns_nothing_and_one_that_is_null_is_none() -> None:
    for error, veto in ((b"null", ""), (b'{"message":"x"}', "error_frame")):
        it = account()
        told_document(it, b'{"error":%b,"usage":{"prompt_tokens":1}}' % error)
        assert it.veto() == veto


# --- collecting ------------------------------------------------------------------------------------------------------


async def test_a_body_within_the_limit_is_collected() -> None:
    tasks = Tasks("test")
    assert await Collected(Pieces([b"ab", b"c"]), 3, tasks).whole() == b"abc"
    await tasks.close()


async def test_one_above_the_limit_passes_with_all_its_bytes_and_with_its_back_pressure() -> None:
    tasks = Tasks("test")
    collected = Collected(Pieces([b"ab", b"cd", b"ef", b"gh"]), 3, tasks)
    assert await collected.whole() is None
    sink = ListSink(room=2)
    await collected.pipe(sink)
    assert (sink.content, sink.finished) == (b"abcdefgh", True)
    assert sink.drains > 0
    await tasks.close()


async def test_a_break_is_told_before_or_after_the_limit() -> None:
    tasks = Tasks("test")
    with pytest.raises(UpstreamReset):
        await Collected(Pieces([b"ab"], breaks=True), 10, tasks).whole()
    collected = Collected(Pieces([b"ab", b"cd"], breaks=True), 1, tasks)
    assert await collected.whole() is None
    with pytest.raises(UpstreamReset):
        await chunks_of(collected)
    await tasks.close()


async def test_who_does_not_want_it_leaves_nothing_behind() -> None:
    tasks = Tasks("test")
    body = Pieces([b"ab"] * 10)
    collected = Collected(body, 3, tasks)
    assert await collected.whole() is None
    collected.abort()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (body.aborted, len(tasks)) == (True, 0)


async def test_cancelling_while_it_comes_cancels_the_upstream() -> None:
    tasks = Tasks("test")

    class Silent(Pieces):
        async def pipe(self, sink: Sink) -> None:
            await asyncio.Event().wait()

    body = Silent([])
    waiting = asyncio.get_running_loop().create_task(Collected(body, 3, tasks).whole())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0)
    assert (body.aborted, len(tasks)) == (True, 0)
