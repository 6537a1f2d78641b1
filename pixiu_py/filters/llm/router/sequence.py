"""The deciders of a router, asked one after the other until one knows. Whatever fails, the request goes on."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from pixiu_py.errors import StartError
from pixiu_py.filters.llm.router.decider import NO_ROUTE, Decider, DeciderError
from pixiu_py.filters.llm.router.similarity import SimilarityConfig
from pixiu_py.observability.seldom import Seldom
from pixiu_py.registry import Family

if TYPE_CHECKING:
    from pixiu_py.filters.base import Context
    from pixiu_py.filters.llm.router.conversation import Conversation
    from pixiu_py.filters.llm.router.model import Preference, RouterConfig

log = structlog.get_logger("pixiu_py.filters.router")


class Found(NamedTuple):
    """The route that was found, or None and why there is none."""

    route: Preference | None
    reason: str = ""


class _Asked(NamedTuple):
    """One decider."""

    kind: str
    decider: Decider
    failures: Seldom


class Deciders:
    """The deciders of a configuration, in the order in which they are asked."""

    def __init__(self, config: RouterConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._deciders: list[_Asked] = []
        self._clock = context.clock
        self._answers = context.metrics.counter(
            "pixiu_router_decider_answers_total",
            "What deciders answered: route, no_route, no_opinion, unknown_route, or the kind of a failure.",
            ("decider", "answer"),
        )
        self._seconds = context.metrics.histogram(
            "pixiu_router_decision_seconds", "Time that decisions took, whatever came of them."
        )

    async def start(self) -> None:
        """Make and start each. Raises ``StartError``."""
        config = self._config
        blocks: list[tuple[str, Any]] = [(reference.name, reference.config) for reference in config.deciders]
        if config.router is not None:
            blocks.append(("llm", config.router))
        if not blocks:
            blocks.append(("similarity", SimilarityConfig()))
        for kind, block in blocks:
            entry = self._context.registry.find(Family.DECIDER, kind)
            if entry is None:
                raise StartError(f"decider {kind} is not known")
            decider: Decider = entry.cls(block, self._context)
            self._deciders.append(_Asked(kind, decider, Seldom(self._clock)))
            await decider.start()

    async def close(self) -> None:
        """Close each."""
        for asked in reversed(self._deciders):
            await asked.decider.close()

    async def find(self, conversation: Conversation, routes: Sequence[Preference]) -> Found:
        """The route of ``routes``, which is not empty, that the conversation belongs to."""
        started = self._clock()
        by_name = {route.name: route for route in routes}
        reason = "no_match"
        try:
            for asked in self._deciders:
                answer, name = await self._ask(asked, conversation, routes)
                if answer == "route" and name not in by_name:
                    answer = "unknown_route"
                self._answers.inc((asked.kind, answer))
                if answer == "route":
                    return Found(by_name[name])
                if answer == "no_route":
                    return Found(None, "no_match")
                if answer != "no_opinion":
                    reason = "error"
        finally:
            self._seconds.observe(self._clock() - started)
        return Found(None, reason)

    async def _ask(self, asked: _Asked, conversation: Conversation, routes: Sequence[Preference]) -> tuple[str, str]:
        """What a decider answers: ``route`` and its name, ``no_route``, ``no_opinion``, or the kind of its failure."""
        try:
            answer = asked.decider.decide(conversation, routes)
            name: Any = await answer if inspect.isawaitable(answer) else answer
        except DeciderError as error:
            self._failed(asked, str(error), None)
            return error.kind, ""
        except Exception as error:  # noqa: BLE001 - deciders are plugins, and none may cost a client its answer
            self._failed(asked, repr(error), error)
            return "fault", ""
        if name is None:
            return "no_opinion", ""
        if name == NO_ROUTE:
            return "no_route", ""
        return ("route", name) if isinstance(name, str) else ("unknown_route", "")

    def _failed(self, asked: _Asked, error: str, fault: Exception | None) -> None:
        if count := asked.failures.happened():
            log.warning("decider failed", decider=asked.kind, error=error, failures=count, exc_info=fault)
