"""All that is known of one request and its answer: what is to be told, what may be committed, what goes into the books."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pixiu_py.filters.llm.promptcache.blocks import CHAT
from pixiu_py.filters.llm.promptcache.classify import NOTHING_MARKED, Outcome
from pixiu_py.filters.llm.promptcache.outgoing import Places, outgoing
from pixiu_py.filters.llm.promptcache.usage import ZERO, foreign, scrubbed, told, totals
from pixiu_py.stores.ledger.cost import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.filters.llm.promptcache.blocks import Api
    from pixiu_py.filters.llm.promptcache.count import Prompt

_LATE = Outcome(skipped="deadline", degraded=True)
_REFUSED = Outcome(skipped="busy", degraded=True)
_FAILED = Outcome(skipped="error", degraded=True)


class Account:
    """The account of one exchange."""

    # Most requests leave most of these as they are: defaults of the class cost nothing.

    # --- about the request
    #: ``cache_control`` stands somewhere in the body.
    marked = False
    telemetry: Places | None = None
    #: What is to be classified; None: nothing is marked.
    prompt: Prompt | None = None
    #: A stream whose usage the client did not ask for, and we do.
    asks_usage = False
    hides_usage = False
    _edited: tuple[bytes, bool, bytes] | None = None

    # --- about the answer
    #: The split is told; else the answer is only read along with, or scrubbed.
    is_active = False
    keeps_foreign = False
    scrubs = False
    task: asyncio.Task[Outcome] | None = None
    #: The model for which it runs, or would.
    classified_model = ""
    #: Looks who has answered, for a stream that began before anybody had (heartbeats).
    find_out: Callable[[], None] | None = None
    #: There was too much to do already.
    is_refused = False
    _late = False
    _prompt_tokens: int | None = None
    saw_usage = False
    #: The endpoint has told of an error.
    failed = False
    #: The answer has come to its own end.
    complete = False
    was_capped = False
    tokens = Tokens()

    def __init__(self, api: Api, document: dict[str, Any], principal: str, model: str) -> None:
        self.api = api
        self.document = document
        #: Empty: nobody that is known.
        self.principal = principal
        #: The model that the client names; from the answer on the one that served.
        self.model = model

    # --- on the way out --------------------------------------------------------------------------------------------

    def edit(self, body: bytes, endpoint: Endpoint, model: str) -> bytes:
        """The body for one attempt; see ``Plan.edits``. An endpoint that knows markers keeps them."""
        markers = self.marked and endpoint.cache_control == "strip"
        self.hides_usage = self.asks_usage
        if not (markers or self.telemetry or self.asks_usage):
            return body
        known = self._edited
        if known is not None and known[0] is body and known[1] is markers:
            return known[2]
        edited = outgoing(self.api, body, markers=markers, telemetry=self.telemetry, include_usage=self.asks_usage)
        self._edited = (body, markers, edited)
        return edited

    # --- the classification ----------------------------------------------------------------------------------------

    @property
    def is_decided(self) -> bool:
        """False while the classification is under way."""
        return self.task is None or self._late or self.task.done()

    @property
    def outcome(self) -> Outcome:
        """What it has come to; zeros while it is under way."""
        task = self.task
        if task is None:
            return _REFUSED if self.is_refused else NOTHING_MARKED
        if self._late or not task.done():
            return _LATE
        if task.cancelled() or task.exception() is not None:
            return _FAILED
        return task.result()

    async def join(self, timeout: float) -> None:
        """Wait for it, for so many seconds. What is late then counts as nothing cached."""
        task = self.task
        if task is None or task.done():
            return
        await asyncio.wait((task,), timeout=timeout)
        if not task.done():
            task.cancel()
            self._late = True

    def drop(self) -> None:
        """Let go of the classification."""
        if self.task is not None and not self.task.done():
            self.task.cancel()

    # --- the answer ------------------------------------------------------------------------------------------------

    def tell(self, usage: dict[str, Any]) -> dict[str, Any] | None:
        """What an answer's usage is to say; None: what it says already."""
        self.saw_usage = True
        if not self.is_active:
            self._count(totals(self.api, usage))
            return scrubbed(self.api, usage) if self.scrubs else None
        if self.keeps_foreign:
            own = foreign(self.api, usage)
            if own != ZERO:
                self._count(Tokens(*totals(self.api, usage)[:2], *own))
                return None
        said = told(self.api, usage, self.outcome.split, self._prompt_tokens)
        self.was_capped = said.was_capped
        self._count(said.tokens)
        return said.usage

    def _count(self, tokens: Tokens) -> None:
        """Counts are running totals: the last word counts, and what it leaves out was said before."""
        before = self.tokens
        if not tokens.prompt or not tokens.completion:
            tokens = tokens._replace(
                prompt=tokens.prompt or before.prompt, completion=tokens.completion or before.completion
            )
        self._prompt_tokens = tokens.prompt or None
        self.tokens = tokens

    @property
    def saw_split(self) -> bool:
        """True when any of the input was read or written."""
        return self.tokens[2:] != ZERO

    def is_hidden(self, document: dict[str, Any]) -> bool:
        """True for the frame that there is only because we asked for it."""
        return self.hides_usage and self.api is CHAT and document.get("choices") == []

    def veto(self) -> str:
        """Why nothing is committed, in a word; empty: it may be."""
        if self.failed:
            return "error_frame"
        if not self.saw_usage:
            return "no_usage"
        return "" if self.complete else "incomplete"
