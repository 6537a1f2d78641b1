"""Every internal of aiohttp that the gateway leans on, by name and by behaviour: an upgrade that changes one fails here.

``http/`` (connection, server, writer, body, tunnel, upload) and ``upstream/`` (protocol, connection) use what aiohttp does not
promise. What they use is named below; that nothing else is used is checked as well.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from aiohttp import http, web, web_protocol
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo

import pixiu_py

PACKAGE = Path(pixiu_py.__file__).parent

#: Module → the names with an underscore that it takes from aiohttp.
USED = {
    "http/connection.py": {
        "_buffer_paused",
        "_close",
        "_current_request",
        "_force_close",
        "_keepalive_handle",
        "_keepalive_timeout",
        "_lingering_time",
        "_loop",
        "_manager",
        "_max_msg_queue_size",
        "_messages",
        "_msg_queue_resume_size",
        "_next_keepalive_close_time",
        "_parser",
        "_payload_parser",
        "_process_keepalive",
        "_read_bufsize",
        "_reading_paused",
        "_request_count",
        "_resume_reading_if_drained",
        "_resume_transport_reading",
        "_task_handler",
        "_waiter",
    },
    "http/server.py": {"_connections", "_loop", "_task_handler"},
    "http/writer.py": {"_drain_helper", "_drain_waiter", "_paused"},
    "http/body.py": {"_buffer", "_http_chunk_splits", "_size"},
    "http/tunnel.py": {"_drain_helper", "_pause_transport_reading", "_resume_transport_reading"},
    "http/upload.py": {"_pause_transport_reading", "_resume_transport_reading"},
    "upstream/protocol.py": {
        "_buffer",
        "_loop",
        "_parser",
        "_pause_transport_reading",
        "_resume_transport_reading",
        "_upgraded",
    },
    "upstream/connection.py": {
        "_drain_helper",
        "_drain_waiter",
        "_loop",
        "_parser",
        "_pause_transport_reading",
        "_paused",
        "_resume_transport_reading",
        "_upgraded",
    },
}

#: Module → the class of aiohttp's that it derives from.
BASES = {
    "http/connection.py": RequestHandler,
    "upstream/connection.py": BaseProtocol,
    "upstream/protocol.py": BaseProtocol,
}
#: Module → the module of ours whose class it derives from.
DERIVED = {"upstream/connection.py": "upstream/protocol.py"}


def make_handler(**options: Any) -> RequestHandler:
    """aiohttp's own downstream connection, without a socket."""

    async def handle(request: Any) -> Any:
        raise NotImplementedError

    return RequestHandler(web.Server(handle), loop=asyncio.get_running_loop(), access_log=None, **options)


class Ended(BaseProtocol):
    """A protocol that notes when the parser asks for a pause or lets go of one."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.calls: list[str] = []

    def pause_reading(self) -> None:
        self.calls.append("pause")
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        self.calls.append(f"resume {resume_parser}")

    def parse(self, limit: int = 2**16, **options: Any) -> Any:
        self._parser = http.HttpResponseParser(
            self,
            self._loop,
            limit,
            max_line_size=65536,
            max_field_size=65536,
            max_headers=512,
            payload_exception=RuntimeError,
            read_until_eof=True,
            auto_decompress=False,
            **{"response_with_body": True, **options},
        )
        return self._parser


HEAD = b"HTTP/1.1 200 Fine\r\nX-a: 1\r\nX-A: \xff\r\n"


# --- which names -------------------------------------------------------------------------------------------------------


def own_names(tree: ast.AST) -> set[str]:
    """What a module defines itself: functions, slots, attributes set in a constructor."""
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__slots__":
            own |= set(ast.literal_eval(node.value))
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            stored = (inner for inner in ast.walk(node) if isinstance(inner, ast.Attribute))
            own |= {inner.attr for inner in stored if isinstance(inner.ctx, ast.Store)}
    return own


@pytest.mark.parametrize("module", USED)
def test_every_internal_is_named_here(module: str) -> None:
    """A further one has to be added to the list, and one that is no longer used to be taken off."""
    tree, base = (ast.parse((PACKAGE / name).read_text()) for name in (module, DERIVED.get(module, module)))
    attributes = (node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    private = {name for name in attributes if name.startswith("_") and not name.startswith("__")}
    inherited = set(dir(BASES.get(module, object)))
    assert private - ((own_names(tree) | own_names(base)) - inherited) == USED[module]


def test_no_other_module_uses_internals() -> None:
    """``_ErrInfo`` and the parser classes are imported at the edges only."""
    users = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(
            word in path.read_text() for word in ("_ErrInfo", "HttpResponseParser", "RequestHandler", "EMPTY_PAYLOAD")
        )
    ]
    assert sorted(users) == [
        "http/body.py",
        "http/connection.py",
        "http/server.py",
        "upstream/connection.py",
        "upstream/protocol.py",
    ]


async def test_names_exist() -> None:
    """On the objects that they are used on."""
    handler = make_handler()
    for name in USED["http/connection.py"] | USED["http/writer.py"] | USED["http/tunnel.py"]:
        assert hasattr(handler, name), name
    for name in USED["http/server.py"] - {"_task_handler"}:
        assert hasattr(handler._manager, name), name
    assert isinstance(handler._manager._connections, dict)
    protocol = Ended()
    for name in USED["upstream/connection.py"] | USED["upstream/protocol.py"] - {"_buffer"}:
        assert hasattr(protocol, name), name
    assert protocol.writing_paused is False


# --- downstream --------------------------------------------------------------------------------------------------------


async def test_request_handler() -> None:
    """Its options, its flags before the first byte, and the methods that are called or replaced."""
    options = {"keepalive_timeout": 1, "lingering_time": 2, "max_line_size": 3, "max_field_size": 4, "max_headers": 5}
    handler = make_handler(auto_decompress=False, **options)
    assert isinstance(handler._messages, deque)
    assert (handler._close, handler._force_close, handler._buffer_paused) == (False, False, False)
    assert handler._current_request is handler._waiter is handler._task_handler is handler._keepalive_handle is None
    assert (handler._keepalive_timeout, handler._lingering_time) == (1, 2)
    assert inspect.iscoroutinefunction(RequestHandler.start)
    for method in ("connection_made", "connection_lost", "data_received", "force_close", "keep_alive", "set_parser"):
        assert callable(getattr(RequestHandler, method))
    assert isinstance(inspect.getattr_static(RequestHandler, "peername"), object)


def test_connection_made_runs_our_loop() -> None:
    """``start`` is called through the instance, and the keep-alive timer looks at ``_waiter``."""
    assert "self.start()" in inspect.getsource(RequestHandler.connection_made)
    assert "self._waiter and not self._waiter.done()" in inspect.getsource(RequestHandler._process_keepalive)


def test_lost_connection_cancels_the_request() -> None:
    """``handler_cancellation``, ``_cancel`` of the current request, and ``feed_eof`` of what ``set_parser`` was given."""
    source = inspect.getsource(RequestHandler.connection_lost)
    for call in ("_current_request._cancel(exc)", "_task_handler.cancel()", "_payload_parser.feed_eof()"):
        assert call in source
    assert source.index("_manager.connection_lost") < source.index("self._task_handler = None")


async def test_messages_of_the_handler() -> None:
    """(request, payload), or (what was wrong, nothing); each taken one is reported to the parser."""
    handler = make_handler()
    handler.data_received(b"GET /x?y HTTP/1.1\r\nHost: h\r\nX-a: \xff\r\n\r\n")
    message, payload = handler._messages.popleft()
    assert (message.method, message.path, message.version) == ("GET", "/x?y", (1, 1))
    assert (message.should_close, message.chunked, message.upgrade) == (False, False, False)
    assert message.raw_headers == ((b"Host", b"h"), (b"X-a", b"\xff"))
    assert (message.headers["host"], message.headers["x-A"]) == ("h", "\udcff")
    assert payload is EMPTY_PAYLOAD
    handler._parser.message_consumed()
    handler.data_received(b"nonsense\r\n\r\n")
    error, _ = handler._messages.popleft()
    assert isinstance(error, _ErrInfo)
    assert (error.status, isinstance(error.exc, HttpProcessingError)) == (400, True)
    assert issubclass(LineTooLong, HttpProcessingError)


async def test_absolute_target_is_parsed() -> None:
    """``url.raw_path_qs`` is its path and query as written."""
    handler = make_handler()
    handler.data_received(b"GET http://h/a%2Fb?q=%20 HTTP/1.1\r\nHost: h\r\n\r\n")
    assert handler._messages[0][0].url.raw_path_qs == "/a%2Fb?q=%20"


async def test_queue_of_messages_is_bounded() -> None:
    """Above it reading stops, and goes on below ``_msg_queue_resume_size``."""
    handler = make_handler()
    handler.data_received(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 100)
    assert len(handler._messages) == web_protocol.MAX_MSG_QUEUE_SIZE
    assert handler._buffer_paused
    assert handler._msg_queue_resume_size < web_protocol.MAX_MSG_QUEUE_SIZE


async def test_upgraded_bytes_go_to_the_payload_parser() -> None:
    """Those that came with the request first; ``feed_data`` returns (at the end?, rest)."""
    handler = make_handler()
    handler.data_received(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nfirst")
    assert handler._messages[0][0].upgrade
    seen: list[bytes] = []

    class Parser:
        def feed_data(self, data: bytes) -> tuple[bool, bytes]:
            seen.append(data)
            return False, b""

    handler.set_parser(Parser())  # type: ignore[arg-type]
    handler.data_received(b"second")
    assert seen == [b"first", b"second"]


async def test_web_server() -> None:
    """Calls itself for a connection, keeps them, and is told of their end."""
    server = make_handler()._manager
    assert (server._connections, server.connections, server.handler_cancellation) == ({}, [], False)
    assert server._loop is asyncio.get_running_loop()
    assert list(inspect.signature(web.Server.connection_lost).parameters) == ["self", "handler", "exc"]


# --- both sides ----------------------------------------------------------------------------------------------------------


async def test_write_flow_control() -> None:
    """``_paused`` follows the transport; a cancelled wait is not forgotten by aiohttp, so the writer does that."""
    protocol = BaseProtocol(asyncio.get_running_loop())
    protocol.transport = asyncio.Transport()
    protocol.pause_writing()
    assert protocol._paused is protocol.writing_paused is True
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await protocol._drain_helper()
    assert protocol._drain_waiter is not None
    protocol._drain_waiter = None
    protocol.resume_writing()
    await protocol._drain_helper()
    protocol.transport = None
    with pytest.raises(ConnectionError):
        await protocol._drain_helper()


async def test_stream_reader() -> None:
    """Its buffer can be emptied from outside: a deque of bytes, their sum, and the ends of chunks."""
    protocol = BaseProtocol(asyncio.get_running_loop())
    payload = StreamReader(protocol, 2**16, loop=asyncio.get_running_loop())
    assert payload._http_chunk_splits is None
    payload.begin_http_chunk_receiving()
    payload.feed_data(b"abc")
    payload.end_http_chunk_receiving()
    assert (payload._buffer, payload._size, payload.total_bytes) == (deque([b"abc"]), 3, 3)
    assert payload._http_chunk_splits == deque([3])
    payload._buffer.clear()
    payload._size = 0
    payload._http_chunk_splits.clear()
    payload.feed_data(b"de")
    payload.feed_eof()
    assert (payload.is_eof(), payload.total_bytes, await payload.readany()) == (True, 5, b"de")


def test_empty_payload() -> None:
    """One object for all messages without a body: at its end, nothing in it, and no buffer."""
    assert (EMPTY_PAYLOAD.is_eof(), EMPTY_PAYLOAD.total_bytes) == (True, 0)
    assert not hasattr(EMPTY_PAYLOAD, "_buffer")


# --- upstream ------------------------------------------------------------------------------------------------------------


async def test_response_parser() -> None:
    """``feed_data`` gives (messages with their payloads, whether upgraded, what follows then)."""
    messages, upgraded, tail = Ended().parse().feed_data(HEAD + b"Content-Length: 2\r\n\r\nok")
    ((message, payload),) = messages
    assert (message.code, message.reason, message.should_close, message.chunked) == (200, "Fine", False, False)
    assert message.raw_headers[:2] == ((b"X-a", b"1"), (b"X-A", b"\xff"))
    assert message.headers.getall("x-a") == ["1", "\udcff"]
    assert (list(payload._buffer), payload.is_eof(), upgraded, tail) == ([b"ok"], True, False, b"")


async def test_parser_at_rest_can_be_told_from_one_that_has_begun() -> None:
    """``feed_eof`` gives None between two responses, and something, or an error, within one."""
    parser = Ended().parse()
    parser.feed_data(HEAD + b"Content-Length: 2\r\n\r\nok\r\n")
    assert parser.feed_eof() is None
    assert len(parser.feed_data(HEAD + b"Content-Length: 2\r\n\r\nokH")[0]) == 1
    assert parser.feed_eof() is not None


@pytest.mark.parametrize(
    ("framing", "at_end"),
    [(b"Content-Length: 3\r\n", False), (b"Transfer-Encoding: chunked\r\n", False), (b"", True)],
)
async def test_end_of_input(framing: bytes, at_end: bool) -> None:
    """The end of a body that has no other, an error in all others."""
    parser = Ended().parse()
    ((_, payload),) = parser.feed_data(HEAD + framing + b"\r\n")[0]
    if not at_end:
        with pytest.raises(Exception, match="Not enough data"):
            parser.feed_eof()
    else:
        parser.feed_eof()
    assert payload.is_eof() is at_end


@pytest.mark.parametrize(
    ("options", "wire"),
    [
        ({"response_with_body": False}, HEAD + b"Content-Length: 3\r\n\r\n"),
        ({}, b"HTTP/1.1 204 X\r\n\r\n"),
        ({}, b"HTTP/1.1 304 X\r\nContent-Length: 3\r\n\r\n"),
        ({}, b"HTTP/1.1 103 X\r\n\r\n"),
    ],
)
async def test_response_without_body(options: dict[str, bool], wire: bytes) -> None:
    """Is complete with its head."""
    ((_, payload),) = Ended().parse(**options).feed_data(wire)[0]
    assert payload.is_eof()


async def test_switch_of_protocols() -> None:
    """What follows a 101 comes back unread."""
    wire = b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nrest"
    ((message, payload),), upgraded, tail = Ended().parse().feed_data(wire)
    assert (message.code, payload, upgraded, tail) == (101, EMPTY_PAYLOAD, True, b"rest")


async def test_pause_for_many_bytes() -> None:
    """Above twice the limit; what is left is parsed with the next, possibly empty, piece."""
    protocol = Ended()
    parser = protocol.parse(limit=4)
    ((_, payload),) = parser.feed_data(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"5\r\nabcde\r\n" * 3 + b"0\r\n\r\n"
    )[0]
    assert protocol.calls == ["pause"]
    assert (payload._size, payload.is_eof()) == (10, False)
    payload._buffer.clear()
    payload._size = 0
    parser.feed_data(b"")
    assert (payload._size, payload.is_eof(), protocol.calls[-1]) == (5, True, "resume False")


async def test_pause_for_many_chunks() -> None:
    """Above a sixteenth of the limit, however small they are; the pause is asked for after the last one too."""
    protocol = Ended()
    count = 64 // 16 + 1
    protocol.parse(limit=64).feed_data(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n.\r\n" * count + b"0\r\n\r\n"
    )
    assert protocol.calls == ["pause", "resume False"]


async def test_pause_and_resume_are_the_protocols() -> None:
    """``pause_reading`` stops parser and transport; ``resume_reading`` parses what was left, then reads again."""
    source = inspect.getsource(BaseProtocol.resume_reading)
    assert source.index('self.data_received(b"")') < source.index("self._resume_transport_reading()")
    assert "self._parser.pause_reading()" in inspect.getsource(BaseProtocol.pause_reading)


def test_parser_is_the_compiled_one() -> None:
    """The pure Python parser is several times slower, and differs in what it accepts."""
    assert http.HttpResponseParser.__module__ == "aiohttp._http_parser"
    assert http.HttpRequestParser.__module__ == "aiohttp._http_parser"
