"""Requests that aiohttp's parser lets pass and a gateway must not.

Each could be read in another way by whoever comes after, or before, the gateway: where it ends, which host or which resource
it is for. They are refused as those are that the parser does not let pass. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import HttpVersion10, HttpVersion11

if TYPE_CHECKING:
    from aiohttp.http import RawRequestMessage

#: Digits of a Content-Length: what has more does not fit into 63 bits, in which most others count.
MOST_DIGITS = 18
#: A host and perhaps a port (RFC 3986 §3.2). Empty, where there is no authority.
_is_host = re.compile(r"(?:[A-Za-z0-9\-._~%!$&'()*+,;=]*|\[[A-Za-z0-9\-._~%:]+\])(?::[0-9]*)?").fullmatch


class Fault(NamedTuple):
    """Why a request is refused, and with which status."""

    status: int
    why: str


_VERSION = Fault(505, "HTTP/1.0 and HTTP/1.1 are spoken here")  # 0.9, 2.0, and what is no HTTP but looks like it
#: An endpoint may cut it off (RFC 9112 §3.2), and then the request is for another resource than the one that was routed.
_FRAGMENT = Fault(400, "the request target has a fragment")
#: RFC 9112 §6.1: such framing is faulty, whoever passed it on.
_OLD_CODING = Fault(400, "an HTTP/1.0 request has a Transfer-Encoding")
#: The body would go on without a coding that it has.
_CODING = Fault(501, "the only transfer coding that is known here is chunked")
_LENGTH = Fault(400, "the Content-Length is too large")
_HOST = Fault(400, "the Host field is no name of a host")


def fault(message: RawRequestMessage) -> Fault | None:
    """Why a request is refused; None: it is as it should be."""
    version = message.version
    if version not in (HttpVersion11, HttpVersion10):
        return _VERSION
    if "#" in message.path:
        return _FRAGMENT
    headers = message.headers
    coding = headers.get("Transfer-Encoding")
    if coding is not None:
        if version < HttpVersion11:
            return _OLD_CODING
        if coding.lower() != "chunked":
            return _CODING
    if len(headers.get("Content-Length", "")) > MOST_DIGITS:
        return _LENGTH
    return None if _is_host(headers.get("Host", "")) else _HOST
