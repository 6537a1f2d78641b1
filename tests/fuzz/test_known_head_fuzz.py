"""What a connection makes of any bytes is what aiohttp's parser makes of them, whether or not heads are recognised."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from pixiu_py.http.connection import RawRequest
from pixiu_py.http.server import DownstreamServer
from tests.fakes.transport import FedTransport

_HEADS = [
    b"POST /v1/chat HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer k\r\nContent-Length: %d\r\nAccept: */*\r\n\r\n",
    b"POST /v1/chat HTTP/1.1\r\ncontent-length:%d\r\nHost: a\r\nX-Request-ID: 1\r\n\r\n",
    b"POST /v1/chat HTTP/1.1\r\nHost: a\r\nConnection: x-own\r\nX-Own: 1\r\nContent-Length: %d\r\n\r\n",
    b"POST http://b/v1 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n",
    b"POST /v1/chat HTTP/1.1\r\nHost: a\r\nContent-Length: 0%d\r\n\r\n",
    b"POST /v1/chat HTTP/1.1\r\nHost: a\r\nContent-Length: +%d\r\n\r\n",
    b"POST /v1/chat HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nContent-Length: 1\r\n\r\n",
    b"POST /v1/chat HTTP/1.1\r\nHost: a\r\nX: 1\nContent-Length: %d\r\n\r\n",
    b"\r\nPOST /v1/chat HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n",
]
_OTHERS = [
    b"GET /models HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
    b"GET / HTTP/1.0\r\n\r\n",
    b"\r\n",
    b"GET",
]
#: Values of fields that may vary, with what stands around them.
_VALUES = [
    b" 1",
    b" 22",
    b" a b",
    b"3",
    b"\t4 ",
    b"",
    b" a\tb",
    b" \xff",
    b" \xc2\xa0",
    b" a\0",
    b" a\rb",
    b" a\nX: 1",
    b" 1\r\nX: 1",
    b" 1\r\n 2",
    b" 1\r\n\r\n",
    b" 1\r\nConnection: x-request-id",
    b" 1\r\nTransfer-Encoding: chunked",
    b" " + b"x" * 300,
]
#: A body may look like the next request.
_BODIES = [b"", b"{}", b"hello", b"x" * 12, _OTHERS[0], b"\r\n\r\n", b"0\r\n\r\n"]


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    if draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(_OTHERS))
    body = draw(st.sampled_from(_BODIES))
    length = len(body) + draw(st.sampled_from([0, 0, 0, 0, 0, -1, 1, 5]))
    head = draw(st.sampled_from(_HEADS[:2] + _HEADS)) % max(0, length)
    for field in (b"X-Request-ID:", b"Accept:"):
        if draw(st.booleans()):
            few = st.sampled_from(_VALUES[:3])
            head = re.sub(rb"%b [^\r]*" % field, lambda _: field + draw(few | few | st.sampled_from(_VALUES)), head)  # noqa: B023
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(head) - 1))
        head = head[:at] + draw(st.sampled_from([b"", b"\r", b"\n", b" ", b"\0", b"0", b"\xff"])) + head[at + 1 :]
    return head + body


#: Messages that come in a piece each, mostly: a few are cut, or come together.
pieces = st.lists(
    st.one_of(
        messages(),
        messages(),
        messages(),
        st.tuples(messages(), messages()).map(b"".join),
        st.tuples(messages(), st.integers(0, 200)).map(lambda cut: cut[0][: cut[1]]),
        st.tuples(messages(), st.integers(0, 200)).map(lambda cut: cut[0][cut[1] :]),
    ),
    min_size=1,
    max_size=8,
)


async def _seen(sent: list[bytes], remembers: bool) -> tuple[list[Any], bytes, bool, int]:
    """What the handler saw of each request, what went back, whether the connection ended, and how many heads were known."""
    seen: list[Any] = []
    known = 0

    async def handle(raw: RawRequest) -> bool:
        nonlocal known
        known += raw.content is not None
        head = raw.head
        entry: list[Any] = [head.method, head.target, head.path, head.query, tuple(head.version), head.length]
        headers = head.headers()
        entry += [list(headers.raw), headers.get("content-length"), headers.get("host"), headers.get("x-own")]
        entry += [headers.get("x-request-id"), headers.get("accept")]
        entry += [head.keeps_alive, head.upgrade, head.expects]
        seen.append(entry)
        try:
            entry.append(raw.content if raw.content is not None else await raw.payload.read())
        except asyncio.CancelledError:
            raise
        except Exception as error:
            entry.append(type(error).__name__)
            return False
        raw.protocol.transport.write(b"ok")  # type: ignore[union-attr]
        return head.keeps_alive

    server = DownstreamServer(handle, lingering_time=0.0)
    connection = server()
    if not remembers:
        connection._heads._tries = 0
    wire = FedTransport()
    connection.connection_made(wire)
    for data in sent:
        for _ in range(4):
            await asyncio.sleep(0)
        if wire.closed:
            break
        connection.data_received(data)
    for _ in range(40):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    for _ in range(4):
        await asyncio.sleep(0)
    return seen, wire.written, wire.closed, known


_POST = _HEADS[0] % 2 + b"{}"


def _with_id(value: bytes) -> bytes:
    return _POST.replace(b"*/*", value)


@given(pieces)
@example([_POST, _POST, _HEADS[0] % 5 + b"hello", _POST])
@example([_POST, _POST + b"GET", b" / HTTP/1.1\r\n\r\n", _POST])
@example([_POST, _POST[:-1], b"}", _POST])
@example([_with_id(b"1"), _with_id(b"2"), _with_id(b"3")[:-1], b"}", _with_id(b"4"), _POST])
@example([_with_id(b"1"), _with_id(b"2"), _with_id(b"3") + _with_id(b"4"), _with_id(b"5")])
@example([_with_id(b"1"), _with_id(b"2"), _with_id(b"3\r\nContent-Length: 0"), _with_id(b"5")])
@example([_with_id(b"1"), _with_id(b"2"), _with_id(b"3\r\n\r\n"), _with_id(b"5")])
def test_recognised_heads_change_nothing(sent: list[bytes]) -> None:
    async def both() -> None:
        assert (await _seen(sent, True))[:3] == (await _seen(sent, False))[:3]

    asyncio.run(both())


def test_heads_are_recognised() -> None:
    """Else the test above would compare nothing."""
    sent = [_POST, _POST, _HEADS[0] % 5 + b"hello", _OTHERS[0], _POST]
    assert asyncio.run(_seen(sent, True))[3] == 2
    assert asyncio.run(_seen(sent, False))[3] == 0
    sent = [_with_id(b"1"), _with_id(b"2"), _with_id(b"3"), _with_id(b"4 5")]
    assert asyncio.run(_seen(sent, True))[3] == 2
