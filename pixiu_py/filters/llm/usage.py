"""Token counts out of the answers of the OpenAI, Anthropic and Responses APIs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: ``exchange.params`` key of an exchange's ``Usage``.
USAGE = "usage"


@dataclass(frozen=True, slots=True)
class Usage:
    """What one answer cost, in tokens. ``prompt_tokens`` includes those read from and written to a prompt cache."""

    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0


class UsageCollector:
    """Collects what the documents of one answer say. Counts are running totals, so the last word counts, per field."""

    __slots__ = ("_fields", "model")

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self.model = ""

    def add(self, document: Any) -> None:
        """Take one JSON document: a whole answer, or the data of one event."""
        if not isinstance(document, dict):
            return
        # Anthropic's message_start and the Responses API's events have it one level down.
        for part in (document, document.get("message"), document.get("response")):
            if not isinstance(part, dict):
                continue
            model, usage = part.get("model"), part.get("usage")
            if isinstance(model, str) and model:
                self.model = model
            if isinstance(usage, dict):
                self._fields.update((key, value) for key, value in usage.items() if value is not None)

    @property
    def usage(self) -> Usage | None:
        """The counts; None when nothing said any."""
        return normalise(self._fields, self.model) if self._fields else None

    @property
    def fields(self) -> Mapping[str, Any]:
        """The counts as the endpoint spelt them."""
        return self._fields


def normalise(fields: Mapping[str, Any], model: str) -> Usage:
    """One meaning for three spellings.

    OpenAI's ``prompt_tokens`` and the Responses API's ``input_tokens`` include cached tokens; Anthropic's
    ``input_tokens`` do not, and it names cache reads and writes beside them.
    """
    details = _mapping(fields.get("prompt_tokens_details")) or _mapping(fields.get("input_tokens_details"))
    read = _count(fields.get("cache_read_input_tokens"))
    written = _count(fields.get("cache_creation_input_tokens"))
    if "input_tokens" in fields and "prompt_tokens" not in fields:
        prompt = _count(fields.get("input_tokens")) + read + written
        completion = _count(fields.get("output_tokens"))
    else:
        prompt = _count(fields.get("prompt_tokens"))
        completion = _count(fields.get("completion_tokens")) or _count(fields.get("output_tokens"))
    return Usage(
        model=model,
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=_count(fields.get("total_tokens")) or prompt + completion,
        cached_tokens=read or _count(details.get("cached_tokens")),
        cache_write_tokens=written,
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    """A number of tokens; anything that is none counts as 0."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 2**53:
        return int(value)
    return 0
