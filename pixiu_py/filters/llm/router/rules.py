"""A decider with rules: words, patterns, length, tools, images. The first rule that holds names the route. No model call."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from pixiu_py.config.types import Model, doc
from pixiu_py.filters.llm.router.decider import NO_ROUTE, Decider
from pixiu_py.registry import Family, plugin

if TYPE_CHECKING:
    from pixiu_py.filters.base import Context
    from pixiu_py.filters.llm.router.conversation import Conversation
    from pixiu_py.filters.llm.router.model import Preference


class Rule(Model, frozen=True):
    """Conditions, all of which must hold, and the route of requests for which they do."""

    route: Annotated[str, doc("Name of a route; empty: none fits, and no other decider is asked.")]
    keywords: Annotated[
        list[Annotated[str, Meta(min_length=1)]], doc("One of these words is in the latest user message, in any case.")
    ] = []
    regex: Annotated[str, doc("Is found in the latest user message; `(?i)` for any case.")] = ""
    system_regex: Annotated[str, doc("Is found in the system text.")] = ""
    min_tokens: Annotated[int, Meta(ge=0, description="The conversation has at least so many, at four bytes each.")] = 0
    max_tokens: Annotated[int, Meta(ge=0, description="It has at most so many; 0: any number.")] = 0
    tools: Annotated[bool | None, doc("Tools are offered, or are not.")] = None
    images: Annotated[bool | None, doc("There is an image or another part that is no text, or there is none.")] = None

    def __post_init__(self) -> None:
        for key in ("regex", "system_regex"):
            try:
                re.compile(getattr(self, key))
            except re.error as error:
                raise ValueError(f"{key}: {error}") from None
        if self.max_tokens and self.max_tokens < self.min_tokens:
            raise ValueError(f"max_tokens {self.max_tokens} is less than min_tokens {self.min_tokens}")


class RulesConfig(Model, frozen=True):
    """Keys of the decider `rules`."""

    rules: Annotated[list[Rule], Meta(min_length=1, description="In the order in which they are tried.")]
    max_text: Annotated[
        int, Meta(ge=256, description="Of a text, no more than these first characters are searched.")
    ] = 16_384


class CompiledRule:
    """A rule, ready to be asked."""

    __slots__ = ("_pattern", "_rule", "_system", "route")

    def __init__(self, rule: Rule) -> None:
        self.route = rule.route
        self._rule = rule
        patterns = [rule.regex] if rule.regex else []
        self._pattern = [re.compile(pattern) for pattern in patterns]
        if rule.keywords:
            words = "|".join(re.escape(word) for word in rule.keywords)
            self._pattern.append(re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE))
        self._system = re.compile(rule.system_regex) if rule.system_regex else None

    def holds(self, conversation: Conversation, max_text: int) -> bool:
        """Whether all conditions do."""
        rule = self._rule
        if rule.tools is not None and rule.tools != bool(conversation.tools):
            return False
        if rule.images is not None and rule.images != conversation.attached:
            return False
        if rule.min_tokens or rule.max_tokens:
            tokens = conversation.tokens
            if tokens < rule.min_tokens or (rule.max_tokens and tokens > rule.max_tokens):
                return False
        if self._system is not None and not self._system.search(conversation.system[:max_text]):
            return False
        if not self._pattern:
            return True
        latest = conversation.last_user
        text = latest.text[:max_text] if latest is not None else ""
        return all(pattern.search(text) for pattern in self._pattern)


@plugin(Family.DECIDER, "rules")
class Rules(Decider):
    """Decides by words, patterns, length, tools and images."""

    Config: ClassVar[type[RulesConfig]] = RulesConfig
    config: RulesConfig

    def __init__(self, config: RulesConfig, context: Context) -> None:
        super().__init__(config, context)
        self._rules = [CompiledRule(rule) for rule in config.rules]

    def decide(self, conversation: Conversation, routes: Sequence[Preference]) -> str | None:
        """The route of the first rule that holds. One that names no route of this request is passed over."""
        known = {route.name for route in routes}
        for rule in self._rules:
            if (rule.route == NO_ROUTE or rule.route in known) and rule.holds(conversation, self.config.max_text):
                return rule.route
        return None
