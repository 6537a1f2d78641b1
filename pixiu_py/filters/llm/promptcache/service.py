"""Counts by a tokenizer service: ``/v1/tokenize`` for texts, ``/v1/models`` for which models it knows and in which version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pixiu_py.filters.llm.promptcache.count import CountFailed, SegmentCounter
from pixiu_py.upstream.client import CallFailed, Client, base_at, parsed

#: Models whose version is remembered, and for how many seconds. That there is none is remembered too; a failure is not.
MEMO_SIZE = 10_000
MEMO_TTL = 300.0
_UNMAPPED = "UNMAPPED_MODEL"


class ServiceCounter(SegmentCounter):
    """Asks a service at ``url``, each call within ``timeout`` seconds. ``lookups`` counts what the memo had to say."""

    def __init__(
        self, url: str, timeout: float, clock: Callable[[], float], lookups: Callable[[str], None] | None = None
    ) -> None:
        self._service = base_at(url)
        self._timeout = timeout
        self._clock = clock
        self._lookups = lookups
        self._client = Client()
        #: Model → version or None, and until when this holds. In order of arrival, the oldest first.
        self._versions: dict[str, tuple[str | None, float]] = {}

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def version(self, model: str) -> str | None:
        """See ``TokenCounter.version``: what the service says, remembered for a while."""
        known = self._versions.get(model)
        is_known = known is not None and known[1] > self._clock()
        if self._lookups is not None:
            self._lookups("hit" if is_known else "miss")
        if not is_known:
            await self._fetch()
            known = self._versions.get(model)
            if known is None or known[1] <= self._clock():
                self._remember(model, None)
                return None
        return known[0] if known is not None else None

    async def _fetch(self) -> None:
        try:
            answer = parsed(await self._client.get(self._service, "/v1/models", self._timeout))
        except CallFailed as error:
            raise CountFailed("tokenizer_unreachable", str(error)) from None
        models = answer.get("models") if isinstance(answer, dict) else None
        if not isinstance(models, list):
            raise CountFailed("tokenizer_unreachable", "a list of models without models")
        for entry in models:
            alias = entry.get("alias") if isinstance(entry, dict) else None
            version = entry.get("tokenizer_version") if isinstance(entry, dict) else None
            if isinstance(alias, str) and isinstance(version, str):
                self._remember(alias, version)

    def _remember(self, model: str, version: str | None) -> None:
        self._versions.pop(model, None)
        self._versions[model] = version, self._clock() + MEMO_TTL
        if len(self._versions) > MEMO_SIZE:
            del self._versions[next(iter(self._versions))]

    async def segments(self, model: str, texts: list[str]) -> list[int]:
        """See ``SegmentCounter.segments``. The version in the answer is not looked at: the memo's is the scope's."""
        question = {"virtual_model": model, "segments": texts}
        try:
            answer = await self._client.ask(self._service, "/v1/tokenize", question, self._timeout)
        except CallFailed as error:
            unmapped = error.status == 422 and _UNMAPPED in str(error)
            raise CountFailed("tokenizer_unmapped" if unmapped else "tokenize_failed", str(error)) from None
        counts = answer.get("segment_counts") if isinstance(answer, dict) else None
        if not isinstance(counts, list) or not all(_is_count(count) for count in counts):
            raise CountFailed("tokenize_failed", "an answer without segment_counts")
        return counts


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
