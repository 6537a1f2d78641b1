"""A streaming response filter: replaces words in a response while it passes, also where a word spans two chunks.

    http_filters:
      - name: example.filter.redact
        config: {words: [fox, dog], replacement: "***"}

It sees bytes, not tokens: in a stream of server-sent events a word is found where it stands whole within one event.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

from pixiu_py.config.types import Model, doc
from pixiu_py.filters.base import Context, HttpFilter
from pixiu_py.http.exchange import Exchange
from pixiu_py.registry import Family, plugin

Word = Annotated[str, Meta(min_length=1, max_length=64)]


class RedactConfig(Model, frozen=True):
    """What is hidden, and behind what."""

    words: Annotated[list[Word], Meta(min_length=1, max_length=32, description="Texts to replace, case as given.")]
    replacement: Annotated[str, doc("What stands in their place; in JSON responses it must need no escaping.")] = "***"


@plugin(Family.HTTP_FILTER, "example.filter.redact")
class Redact(HttpFilter):
    """Replaces configured words in response bodies."""

    Config = RedactConfig

    def __init__(self, config: RedactConfig, context: Context) -> None:
        super().__init__(config, context)
        words = {word.encode() for word in config.words}
        beginnings = {word[:length] for word in words for length in range(1, len(word))}
        self._replacement = config.replacement.encode()
        self._word = re.compile(_any_of(words))
        # What could still become a word comes first: at the end of a chunk, "fox" may turn out to be "foxglove".
        self._open_or_word = re.compile(rb"(?P<open>(?:%b)\Z)|%b" % (_any_of(beginnings), _any_of(words)))
        # Unique to this filter, so that one chain may have it twice.
        self._held = f"example.filter.redact {id(self)}"

    def decode(self, exchange: Exchange) -> None:
        """Ask for a response that is not compressed: words cannot be found in gzip."""
        exchange.request.headers.remove("accept-encoding")

    def encode_chunk(self, exchange: Exchange, chunk: bytes) -> bytes:
        """Replace what is complete; hold back the end of the chunk if a word may have begun there."""
        data = exchange.params.pop(self._held, b"") + chunk
        sent, end = [], 0
        for match in self._open_or_word.finditer(data):
            sent.append(data[end : match.start()])
            if match["open"] is None:
                sent.append(self._replacement)
            else:
                exchange.params[self._held] = match["open"]
            end = match.end()
        return b"".join((*sent, data[end:]))

    def encode_end(self, exchange: Exchange) -> bytes:
        """Nothing follows: what was held back is all there is of it."""
        held = exchange.params.pop(self._held, b"")
        return self._word.sub(lambda _: self._replacement, held)


def _any_of(texts: Iterable[bytes]) -> bytes:
    """A pattern for any of these texts, the longest that fits; one that never matches when there are none."""
    return b"|".join(map(re.escape, sorted(texts, key=len, reverse=True))) or rb"(?!)"
