"""Requests and answers as they may come over a connection: mostly alike, so that they can be recognised, and some odd ones."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

from hypothesis import strategies as st


class Exchanged(NamedTuple):
    """A request and an answer, each in the pieces in which they come."""

    request: tuple[bytes, ...]
    answer: tuple[bytes, ...]


#: Heads of which one is sent again and again in an example; the ``#`` are values that differ.
_REQUESTS = [
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nX-Id: #\r\nAuthorization: Bearer k%\r\nContent-Length: @\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nhost:a\r\ncontent-length:@\r\nX-Request-ID:#\r\nx-session: #\r\nX-Route: b\r\n\r\n",
    b"POST /b/x?y=#1 HTTP/1.1\r\nHost: b.test\r\nConnection: x-own\r\nX-Own: #\r\nX-Withheld: #\r\nX-%: #\r\n"
    b"Content-Length: @\r\n\r\n",
    b"POST http://c/v1/x HTTP/1.1\r\nHost: a\r\nX-Id: #\r\nx-given: #\r\nContent-Length: @\r\n\r\n",
    b"GET /v1/x HTTP/1.1\r\nHost: a\r\nX-Session: s\r\nX-Id: #\r\nX-Id: #\r\n\r\n",
    b"POST /v1/x HTTP/1.1\r\nHost: a\r\nX-Route: #\r\nCookie: a\r\nContent-Length: @\r\n\r\n",
    b"POST /v1/x HTTP/1.1\r\nHost: a\r\nConnection: #\r\nContent-Type: #\r\nContent-Length: @\r\n\r\n",
    b"HEAD /v1/x HTTP/1.1\r\nHost: a\r\nX-Id: #\r\n\r\n",
    b"POST /v1/x HTTP/1.0\r\nConnection: keep-alive\r\nX-Id: #\r\nContent-Length: @\r\n\r\n",
]
ANSWERS = [
    b"HTTP/1.1 200 OK\r\nDate: Sat, 01 Jan 2022 00:00:!! GMT\r\nX-Id: #\r\nX-%: #\r\nCookie: a\r\nContent-Length: @\r\n\r\n",
    b"HTTP/1.1 200 Fine\r\ndate: today#\r\nX-Request-Id:#\r\nx-more: #\r\nserver: s\r\ncontent-length:@\r\n\r\n",
    b"HTTP/1.1 404 No\r\nConnection: keep-alive, x-own\r\nX-Own: #\r\nX-Id: #\r\nContent-Length: @\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nX-Id: #\r\nContent-Length: @\r\n\r\n",
]
#: Values that may differ, and what may not stand there.
_PLAIN = [b"1", b"22", b"b", b"a b", b"100%", b"%s%b", b"Transfer-Encoding: chunked", b"close"]
_ODD = [
    b"",
    b"a\tb",
    b"\xff",
    b"a\0",
    b"a\rb",
    b"a\nX: 1",
    b"1\r\nX: 1",
    b"1\r\n 2",
    b"1\r\n\r\n",
    b"1\r\nConnection: close",
    b"1\r\nTransfer-Encoding: chunked",
    b"1\r\nContent-Length: 1",
    b"x" * 300,
]
_LENGTHS = [b"%d"] * 4 + [b"0%d", b"+%d", b" %d ", b"%d\r\nContent-Length: %d", b"%d, %d", b"%d0", b"-%d"]
_contents = st.sampled_from(
    [b"", b"{}", b"hello", b"x" * 12, b"\r\n\r\n", b"0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"]
)
_OTHERS = [
    b"GET /models HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-T: 1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
]
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_EVENTS = [
    b"data: x\n\n",
    b'data: {"a": "b"}\n\n',
    b": ping\n\n",
    b"\n",
    b"data: x\r\n\r\n",
    b"\r\n",
    b"data: x\n",
    b"data: [DONE]\n\n",
]
_SIZES = [b"%x\r\n"] * 10 + [b"%X\r\n", b"0%x\r\n", b"%x;a=b\r\n", b"%x \r\n", b"+%x\r\n", b"%x\n"]
_OTHERANSWERS = [
    b"HTTP/1.1 204 No Content\r\nX-Id: 1\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-T: 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
]


@st.composite
def filled(draw: st.DrawFn, head: bytes) -> bytes:
    """A message with this head, mostly as it should be."""
    odd = not draw(st.integers(0, 9))
    content = draw(_contents) if b"@" in head else b""
    length, form = len(content), b"%d"
    if odd:
        length = max(0, length + draw(st.sampled_from([0, 0, -1, 1, 5])))
        form = draw(st.sampled_from(_LENGTHS))
    parts = re.split(rb"([#@]|!!)", head)
    for place, part in enumerate(parts):
        if part == b"#":
            parts[place] = draw(st.sampled_from(_PLAIN * 2 + _ODD) if odd else st.sampled_from(_PLAIN))
        elif part == b"!!":
            parts[place] = draw(st.sampled_from([b"00", b"01", b"1", b"0\0"] if odd else [b"00", b"01", b"59"]))
        elif part == b"@":
            parts[place] = form.replace(b"%d", b"%d" % length)
    return b"".join(parts) + content


@st.composite
def streamed(draw: st.DrawFn) -> list[bytes]:
    """An event stream, whose events mostly come in a chunk each."""
    pieces = [STREAM]
    for event in draw(st.lists(st.sampled_from(_EVENTS), max_size=6)):
        framed = draw(st.sampled_from(_SIZES)).replace(b"%x", b"%x" % len(event)).replace(b"%X", b"%X" % len(event))
        framed += event + draw(st.sampled_from([b"\r\n"] * 10 + [b"\n", b"", b"x\r\n"]))
        if draw(st.integers(0, 4)):
            pieces.append(framed)
        else:
            pieces[-1] += framed
    pieces.append(draw(st.sampled_from([b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b""])))
    return [piece for piece in pieces if piece]


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> tuple[bytes, ...]:
    """Mostly not."""
    if draw(st.integers(0, 7)):
        return (data,)
    places = draw(st.lists(st.integers(1, len(data)), max_size=3))
    inside = sorted({place for place in places if place < len(data)})
    return tuple(data[begin:end] for begin, end in pairwise([0, *inside, len(data)]))


@st.composite
def conversations(draw: st.DrawFn) -> list[Exchanged]:
    """Requests that are mostly alike, and answers that are."""
    request, answer = draw(st.sampled_from(_REQUESTS)), draw(st.sampled_from(ANSWERS))
    exchanges = []
    for _ in range(draw(st.integers(3, 9))):
        usual = draw(st.integers(0, 9)) > 0
        sent = draw(filled(request)) if usual else draw(st.sampled_from(_OTHERS))
        if draw(st.integers(0, 19)) == 0:
            sent += draw(filled(request))
        kind = draw(st.integers(0, 9))
        if kind > 2:
            pieces = draw(cut(draw(filled(answer))))
        elif kind:
            pieces = tuple(draw(streamed()))
        else:
            pieces = draw(cut(draw(st.sampled_from(_OTHERANSWERS))))
        exchanges.append(Exchanged(draw(cut(sent)), pieces))
    return exchanges
