"""Token counts are read along with an answer, and not a byte of it changes."""

from __future__ import annotations

import gzip

import orjson
import pytest

from pixiu_py.filters.llm.router.metered import metered
from pixiu_py.http.exchange import Response
from pixiu_py.http.headers import Headers
from tests.fakes.bodies import chat_events, completion, event
from tests.fakes.exchange import ListSink, PieceBody

DOCUMENT = orjson.dumps(completion("x"))
USAGE = {"prompt_tokens": 7, "completion_tokens": 2}


def response(kind: str, body: bytes | PieceBody, encoding: str = "") -> Response:
    """An answer of this type."""
    fields = {"Content-Type": kind, **({"Content-Encoding": encoding} if encoding else {})}
    return Response(200, Headers.of(fields), body)


def clock() -> float:
    return 1.0


@pytest.mark.parametrize("encoding", ["", "gzip"])
async def test_document(encoding: str) -> None:
    """Whole, or in pieces; as it is, or compressed."""
    content = gzip.compress(DOCUMENT) if encoding else DOCUMENT
    for body in (content, PieceBody([content[:9], content[9:]])):
        answer = response("application/json; charset=utf-8", body, encoding)
        meter = metered(answer, clock)
        assert meter is not None
        if isinstance(body, PieceBody):
            assert meter.usage is None
            sink = ListSink()
            await answer.body.pipe(sink)  # type: ignore[union-attr]
            assert (sink.content, sink.finished) == (content, True)
        assert meter.usage is not None
        assert meter.usage.prompt_tokens == 3


async def test_stream() -> None:
    """Its events pass as they come."""
    events = [*chat_events("a")[:-1], event({"choices": [], "usage": USAGE}), chat_events("a")[-1]]
    answer = response("text/event-stream", PieceBody(events))
    meter = metered(answer, clock)
    sink = ListSink()
    await answer.body.pipe(sink)  # type: ignore[union-attr]
    assert sink.chunks == events
    assert meter is not None
    assert meter.usage is not None
    assert meter.usage.prompt_tokens == 7


def test_other_types_are_left_alone() -> None:
    body = PieceBody([b"x"])
    answer = response("audio/mpeg", body)
    assert metered(answer, clock) is None
    assert answer.body is body


async def test_length_and_abort_are_the_bodys_own() -> None:
    body = PieceBody([b"{}"], length=2)
    answer = response("application/json", body)
    metered(answer, clock)
    assert answer.body.length == 2  # type: ignore[union-attr]
    answer.body.abort()  # type: ignore[union-attr]
    assert body.aborted
