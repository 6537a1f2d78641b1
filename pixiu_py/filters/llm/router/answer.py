"""What a router model's answer means. Pure.

Models are asked for ``{"route": ["name"]}``. What they send: that, a name alone, a list, single or curly quotes, a code fence,
a thought before it, a sentence around the object. As long as it is clear which route is meant, it is taken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import orjson

#: No answer to such a question is longer; of a longer text the beginning is read.
MAX_TEXT = 8192
#: What models say when no route fits, unless a route has that name.
_NOTHING = frozenset(("", "other", "none", "null", "n/a", "no route", "[]", "{}"))
_KEYS = ("route", "routes", "name")
_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "`": "'"})  # noqa: RUF001
#: Of a thought only its end is sure to be there: some engines begin it themselves.
_THOUGHT_ENDS = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_THOUGHT = re.compile(r"<think(?:ing)?>", re.IGNORECASE)
#: An object without another inside.
_OBJECT = re.compile(r"\{[^{}]*+\}")
_FENCE = re.compile(r"```[A-Za-z]*\s*(.*?)```", re.DOTALL)
_LAST_COMMA = re.compile(r",\s*([}\]])")
_EDGES = " \t\r\n\"'.,:;!`*"


class AnswerError(ValueError):
    """An answer that means nothing. ``kind`` is ``nonsense`` or ``unknown_route``."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def read_answer(text: str, names: Sequence[str]) -> str:
    """The first of ``names`` that the answer names; an empty text when it says that none fits. Raises ``AnswerError``."""
    *_, text = _THOUGHT_ENDS.split(text)
    text = text.strip()[:MAX_TEXT]
    if _THOUGHT.match(text):  # it has not come to its end
        raise AnswerError("nonsense")
    known = {name.casefold(): name for name in reversed(names)} | {name: name for name in names}
    for candidate in _candidates(text):
        said = _said(candidate)
        if said is not None:
            return _first(said, known)
    said_plainly = _first_or_none([text], known)
    if said_plainly is None:
        raise AnswerError("nonsense")
    return said_plainly


def _candidates(text: str) -> list[Any]:
    """Every document that can be read out of the text, the likeliest first."""
    texts = [text, *_FENCE.findall(text)]
    for opening, closing in ("{}", "[]"):
        begin, end = text.find(opening), text.rfind(closing)
        if 0 <= begin < end:
            texts.append(text[begin : end + 1])
    texts += _OBJECT.findall(text)
    return [document for found in texts for document in _documents(found)]


def _documents(text: str) -> list[Any]:
    """``text`` as JSON, if need be with its quotes and commas mended."""
    mended = _LAST_COMMA.sub(r"\1", text.translate(_QUOTES).replace("\\n", ""))
    for attempt in (text, mended, mended.replace("'", '"')):
        try:
            return [orjson.loads(attempt.encode("utf-8", "replace"))]
        except orjson.JSONDecodeError:
            continue
    return []


def _said(document: Any) -> list[str] | None:
    """The names in a document; empty when it says that there are none, None when it says nothing about routes."""
    if isinstance(document, dict):
        key = next((key for key in _KEYS if key in document), None)
        if key is None:
            return [] if not document else None
        document = document[key]
        if document is None:
            return []
    if isinstance(document, str):
        return [document]
    if isinstance(document, list):
        items = [item.get("name") if isinstance(item, dict) else item for item in document]
        names = [item for item in items if isinstance(item, str)]
        return names if names or not items else None
    return None


def _first(said: list[str], known: dict[str, str]) -> str:
    """The first name that is known. Raises ``AnswerError`` when there are names and none is."""
    found = _first_or_none(said, known)
    if found is None:
        raise AnswerError("unknown_route")
    return found


def _first_or_none(said: list[str], known: dict[str, str]) -> str | None:
    meant = [name for name in said if name.strip(_EDGES)]
    for name in meant:
        found = known.get(name) or known.get(name.strip()) or known.get(name.strip(_EDGES).casefold())
        if found is not None:
            return found
    return "" if all(name.strip(_EDGES).casefold() in _NOTHING for name in meant) else None
