"""What the filter asks of each API that generates text, and what their streams have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from pixiu_py.filters.llm.mock.ask import Ask
from pixiu_py.filters.llm.mock.model import Completion

Document = dict[str, Any]

#: In a stream of events: the next token is still to be computed.
PAUSE = b""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one answer from another: ``key`` becomes part of its ids, ``created`` is Unix time in seconds."""

    key: str
    created: int
    model: str


class Api(Protocol):
    """One API that generates text."""

    def parse(self, document: Any) -> Ask:
        """What a body asks for. Raises ``AskError``."""

    def reply(self, ask: Ask, stamp: Stamp, completions: Sequence[Completion]) -> Document:
        """The whole answer."""

    def events(self, ask: Ask, stamp: Stamp, completions: Sequence[Completion]) -> Iterator[bytes]:
        """The answer as server-sent events, with ``PAUSE`` before each token."""

    def error(self, status: int, message: str, param: str | None = None) -> Document:
        """An error in the shape of this API."""


def sse(document: Document, event: str = "") -> bytes:
    """One server-sent event; OpenAI's older APIs do not name theirs."""
    data = b"data: %b\n\n" % orjson.dumps(document)
    return b"event: %b\n%b" % (event.encode(), data) if event else data
