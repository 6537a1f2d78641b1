"""The head of a client's request, as aiohttp's parser gives it and as the gateway wants it. Never changed once it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pixiu_py.http.headers import Headers
from pixiu_py.http.message_head import MessageHead
from pixiu_py.http.received import Received, received

if TYPE_CHECKING:
    from aiohttp.http import RawRequestMessage

#: How the names of HTTP's other versions begin, as protocols to switch to.
_HTTP = ("h2", "h3", "http")


class RequestHead(MessageHead):
    """What the parser made of a request head."""

    __slots__ = (
        "expects",
        "keeps_alive",
        "method",
        "path",
        "query",
        "route",
        "target",
        "upgrade",
        "version",
    )

    def __init__(self, message: RawRequestMessage) -> None:
        self.method = message.method
        self.version: tuple[int, int] = message.version
        #: The fields, and the target as the client wrote it with its undecoded halves.
        self.fields = received(message.raw_headers, message.headers)
        self.target = message.path
        if not message.path.startswith("/"):
            self._to_origin_form(message)
        self.path, _, self.query = self.target.partition("?")
        declared = message.headers.get("Content-Length")
        #: Declared bytes of the body; None for a chunked one.
        self.length = None if message.chunked else int(declared) if declared else 0
        #: Protocol that the client wants to switch to, or empty.
        self.upgrade = _offered(message.headers.get("Upgrade", "")) if message.upgrade else ""
        # A client whose upgrade was declined may have sent the other protocol's bytes already.
        self.keeps_alive = not (message.should_close or message.upgrade)
        #: The client may wait to be told to send its body. An old one would take that for the answer (RFC 9110 §10.1.1).
        self.expects = "Expect" in message.headers and message.version >= (1, 1)
        #: A table of routes, the fields for which it has found a route (None: whatever they are), and that route. Only where
        #: nothing else decides.
        self.route: tuple[Any, Received | None, Any] | None = None

    def _to_origin_form(self, message: RawRequestMessage) -> None:
        """The target without scheme and authority; the authority takes the place of Host (RFC 9112 §3.2.2)."""
        url = message.url
        self.target = url.raw_path_qs
        if url.raw_authority:
            headers = Headers(self.fields.raw)
            # Who the client is, is nothing of the host's name.
            headers.set("Host", url.raw_authority.rpartition("@")[2])
            self.fields = Received(headers.raw)

    def headers(self) -> Headers:
        """The fields, for one request to change."""
        return self.fields.headers()


def _offered(protocols: str) -> str:
    """The protocols that a client offers to switch to, but for other versions of HTTP.

    Whoever spoke one of those through the gateway would ask the endpoint for anything, past all routes and filters.
    """
    names = [name.strip() for name in protocols.lower().split(",")]
    return ", ".join([name for name in names if name and not name.startswith(_HTTP)])
