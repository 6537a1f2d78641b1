"""A decider that compares texts: the user's message with the descriptions and examples of the routes. No model call.

Texts become weights of words and of their parts (four letters each, so that *program* and *programming* are alike),
rare ones counting more (TF-IDF), and are compared by the cosine. That finds common words, not common meaning: it is as
good as the examples that a route gives.
"""

from __future__ import annotations

import math
import re
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from pixiu_py.config.types import Model
from pixiu_py.filters.llm.router.decider import Decider
from pixiu_py.registry import Family, plugin

if TYPE_CHECKING:
    from pixiu_py.filters.base import Context
    from pixiu_py.filters.llm.router.conversation import Conversation
    from pixiu_py.filters.llm.router.model import Preference

Weights = Mapping[str, float]

#: Letters of a part of a word.
_PART = 4
#: Of so many lists of routes the weights are kept.
_REMEMBERED = 8
#: A part of a word counts this much beside a whole word.
_PART_WEIGHT = 0.4
_WORD = re.compile(r"\w+")
_EMPTY_WORDS = """
a about all also an and any are as at be been but by can could did do does for from had has have he her his how i if in into
is it its just like me more my no not of on or our out please she should so some such than that the their them then there
these they this to up us want was we were what when where which who why will with would you your
"""
#: English words that say nothing about a subject.
_EMPTY = frozenset(_EMPTY_WORDS.split())


class SimilarityConfig(Model, frozen=True):
    """Keys of the decider `similarity`."""

    threshold: Annotated[
        float,
        Meta(ge=0, le=1, description="A best route less alike than this counts as none: 0 nothing in common, 1 equal."),
    ] = 0.12
    margin: Annotated[
        float, Meta(ge=0, le=1, description="The best route must be more alike than the next one by this.")
    ] = 0.02
    max_text: Annotated[
        int, Meta(ge=64, description="Of a longer message its beginning and its end count, so many characters in all.")
    ] = 4096


def terms(text: str) -> Counter[str]:
    """The words of a text and their parts, each with its weight so far: how often it is there."""
    found: Counter[str] = Counter()
    for word in _WORD.findall(text.casefold()):
        if word in _EMPTY or (len(word) == 1 and word.isascii()):
            continue
        found[word] += 1
        if len(word) > _PART:
            for at in range(len(word) - _PART + 1):
                found["~" + word[at : at + _PART]] += 1
    return found


class Index:
    """The texts of some routes, ready to be compared with."""

    def __init__(self, routes: Sequence[Preference]) -> None:
        documents = [(route.name, terms(text)) for route in routes for text in (_described(route), *route.examples)]
        there = Counter(term for _, counts in documents for term in counts)
        self._rarity = {term: math.log(1 + len(documents) / count) for term, count in there.items()}
        #: What a term is worth that is in no text: it belongs to none of the routes.
        self._unknown = math.log(1 + len(documents))
        self._documents = [(name, self._weights(counts)) for name, counts in documents]

    def scores(self, text: str) -> list[tuple[float, str]]:
        """How alike each route is, from 0 to 1, best first; equals in declared order."""
        weights = self._weights(terms(text))
        best: dict[str, float] = {}
        for name, document in self._documents:
            best[name] = max(best.get(name, 0.0), _product(weights, document))
        return sorted(((score, name) for name, score in best.items()), key=lambda item: -item[0])

    def _weights(self, counts: Counter[str]) -> Weights:
        """A text as a vector of length one."""
        weights = {
            term: (1 + math.log(count))
            * self._rarity.get(term, self._unknown)
            * (_PART_WEIGHT if term[0] == "~" else 1)
            for term, count in counts.items()
        }
        length = math.sqrt(sum(weight * weight for weight in weights.values())) or 1.0
        return {term: weight / length for term, weight in weights.items()}


@plugin(Family.DECIDER, "similarity")
class Similarity(Decider):
    """Decides by the words that a message shares with the descriptions and examples of the routes."""

    Config: ClassVar[type[SimilarityConfig]] = SimilarityConfig
    config: SimilarityConfig

    def __init__(self, config: SimilarityConfig, context: Context) -> None:
        super().__init__(config, context)
        #: The latest routes that were compared with: those of the configuration, and those that requests bring along.
        self._indexes: deque[tuple[Sequence[Preference], Index]] = deque(maxlen=_REMEMBERED)

    def decide(self, conversation: Conversation, routes: Sequence[Preference]) -> str | None:
        """The route that is most alike to the latest message of the user; None when none is alike enough."""
        latest = conversation.last_user
        if latest is None or not latest.text:
            return None
        scores = self._index_of(routes).scores(_ends(latest.text, self.config.max_text))
        (score, name), *others = scores
        if score < self.config.threshold or (others and score - others[0][0] < self.config.margin):
            return None
        return name

    def _index_of(self, routes: Sequence[Preference]) -> Index:
        """Reading routes costs more than comparing with them, and they are nearly always the same."""
        for known, index in self._indexes:
            if known is routes or known == routes:
                return index
        index = Index(routes)
        self._indexes.append((routes, index))
        return index


def _described(route: Preference) -> str:
    return f"{route.name} {route.description}"


def _ends(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return f"{text[: limit // 2]} {text[-(limit - limit // 2) :]}"


def _product(left: Weights, right: Weights) -> float:
    if len(right) < len(left):
        left, right = right, left
    return sum(weight * right.get(term, 0.0) for term, weight in left.items())
