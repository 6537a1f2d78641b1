"""``x-request-id``: the client's own if it is a decent one, else a new one."""

from __future__ import annotations

import re
from random import getrandbits
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixiu_py.http.headers import Headers

# What is kept ends up in logs and in upstream requests, so it is short and plain.
_DECENT = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}").fullmatch


def request_id(headers: Headers) -> str:
    """The id of a request; a new one is also put into ``headers``, so that the endpoint sees it."""
    given = headers.get("x-request-id")
    if given is not None and _DECENT(given):
        return given
    made = f"{getrandbits(128):032x}"
    if given is not None:
        headers.remove("x-request-id")
    headers.append((b"x-request-id", made.encode("ascii")))
    return made
