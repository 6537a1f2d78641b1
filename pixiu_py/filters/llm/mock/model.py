"""The model itself: a passage that begins at a word chosen by the prompt. Pure: the same prompt gets the same reply.

A token is taken to be four bytes, as is usual for English text; every word of the passage, with the space before it, is
exactly that, so that the tokens of a reply are counted by the same rule as those of a prompt.
"""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

BYTES_PER_TOKEN = 4

TEXT = """
the old fox saw one fat hen sit out and ate her yet the big dog was not far off and put his ear low
now the fox ran for the oak but the dog had run too and bit his leg the hot sun set the sky was red
and all who saw how the two ran did say you can win any day but not one can win two
"""

PASSAGE = [f" {word}" for word in TEXT.split()]

#: Added to the place where the passage begins, once for each further choice.
CHOICE_STRIDE = 7

Finish = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Completion:
    """One reply, token by token. ``stopped_by`` is the stop sequence that ended it, if one did."""

    pieces: list[str]
    finish: Finish
    stopped_by: str | None = None

    @property
    def text(self) -> str:
        """The whole reply."""
        return "".join(self.pieces)


def count_tokens(text: str) -> int:
    """Tokens of ``text``: its UTF-8 bytes by four, rounded up."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


def complete(
    prompt: str, tokens: int, limit: int | None = None, stops: Sequence[str] = (), prefix: str = "", choice: int = 0
) -> Completion:
    """The reply to ``prompt``: ``tokens`` long, cut off at ``limit`` tokens and before the first of ``stops``.

    ``prefix`` comes first and counts as one token. ``choice`` numbers the replies to one prompt.
    """
    wanted = tokens if limit is None else min(tokens, limit)
    pieces = _passage(prompt, choice, wanted)
    if prefix:
        pieces = [prefix, *pieces[:-1]]
    else:
        pieces[0] = pieces[0].lstrip()
    kept, stop = _cut(pieces, stops) if stops else (pieces, None)
    return Completion(kept, "length" if stop is None and wanted < tokens else "stop", stop)


def embed(text: str, dimensions: int) -> list[float]:
    """A vector of length one that depends on ``text`` alone. Unlike a real one it knows no nearness of meaning."""
    rng = random.Random(text)
    values = [rng.gauss(0, 1) for _ in range(dimensions)]
    length = math.hypot(*values) or 1.0
    return [value / length for value in values]


def _passage(prompt: str, choice: int, count: int) -> list[str]:
    start = (zlib.crc32(prompt.encode("utf-8", "replace")) + choice * CHOICE_STRIDE) % len(PASSAGE)
    rounds = -(-(start + count) // len(PASSAGE))
    return (PASSAGE * rounds)[start : start + count]


def _cut(pieces: list[str], stops: Sequence[str]) -> tuple[list[str], str | None]:
    """The pieces before the earliest stop sequence, and which one that was."""
    text = "".join(pieces)
    found = [(text.find(stop), stop) for stop in stops if stop in text]
    if not found:
        return pieces, None
    left, stop = min(found)
    kept = []
    for piece in pieces:
        if left <= 0:
            break
        kept.append(piece[:left])
        left -= len(piece)
    return kept, stop
