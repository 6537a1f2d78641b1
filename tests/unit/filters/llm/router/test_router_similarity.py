"""Messages find the route whose words they share; others find none."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pixiu_py.filters.llm.router.conversation import Conversation, Message
from pixiu_py.filters.llm.router.model import Preference
from pixiu_py.filters.llm.router.similarity import Index, Similarity, SimilarityConfig, terms
from tests.fakes.exchange import make_context

ROUTES = [
    Preference(name="code", description="writing or fixing program code", models=["m"], examples=["fix the bug"]),
    Preference(name="small talk", description="greetings, chit-chat and casual conversation", models=["m"]),
    Preference(name="math", description="mathematics: equations, proofs, calculations", models=["m"]),
]


def decide(text: str, routes: list[Preference] = ROUTES, **config: float) -> str | None:
    """The route for one message."""
    decider = Similarity(SimilarityConfig(**config), make_context())  # type: ignore[arg-type]
    return decider.decide(Conversation("", (Message("user", text),)), routes)


@pytest.mark.parametrize(
    ("text", "route"),
    [
        ("Please write some code in Python to sort a list", "code"),
        ("my programs crash", "code"),
        ("there is a bug", "code"),
        ("let's have a conversation", "small talk"),
        ("solve this equation: x² = 4", "math"),
        ("calculate 3 times 7", "math"),
        ("what is the capital of France?", None),
        ("translate this into German", None),
        ("or and the", None),
        ("", None),
    ],
)
def test_shared_words_decide(text: str, route: str | None) -> None:
    """Also other forms of a word; words that say nothing about a subject are not heeded."""
    assert decide(text) == route


def test_examples_help() -> None:
    """A route is as alike as the likest of its texts."""
    taught = [*ROUTES[:2], Preference(name="geo", description="", models=["m"], examples=["the capital of Peru"])]
    assert decide("what is the capital of France?", taught) == "geo"


def test_too_little_and_too_close_are_no_decision() -> None:
    """The threshold is for the best route, the margin for its lead over the next."""
    assert decide("fix my program", threshold=0.9) is None
    twins = [Preference(name=name, description="program code", models=["m"]) for name in ("one", "two")]
    assert decide("program code", twins) is None
    assert decide("program code", twins, margin=0.0) == "one"


def test_equal_texts_are_fully_alike() -> None:
    score, name = Index(ROUTES).scores("fix the bug")[0]
    assert (round(score, 6), name) == (1.0, "code")


def test_middle_of_a_long_message_does_not_count() -> None:
    """What it costs is bounded."""
    assert decide("x " * 100 + "program code" + " x" * 100, max_text=64) is None
    assert decide("program code " + "x " * 100, max_text=64) == "code"


def test_routes_of_a_request_are_compared_with_instead() -> None:
    """The index of other routes is not taken for theirs."""
    decider = Similarity(SimilarityConfig(), make_context())
    conversation = Conversation("", (Message("user", "poems about code"),))
    assert decider.decide(conversation, ROUTES) == "code"
    assert decider.decide(conversation, [Preference(name="art", description="poems", models=["m"])]) == "art"
    assert decider.decide(conversation, ROUTES) == "code"


def test_routes_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that requests bring along again and again; how many are kept is bounded."""
    read: list[Sequence[Preference]] = []

    class Counted(Index):
        def __init__(self, routes: Sequence[Preference]) -> None:
            read.append(routes)
            super().__init__(routes)

    monkeypatch.setattr("pixiu_py.filters.llm.router.similarity.Index", Counted)
    decider = Similarity(SimilarityConfig(), make_context())
    conversation = Conversation("", (Message("user", "poems about code"),))
    for _ in range(3):
        decider.decide(conversation, ROUTES)
        decider.decide(conversation, [Preference(name="art", description="poems", models=["m"])])
    assert len(read) == 2
    for number in range(20):
        decider.decide(conversation, [Preference(name=str(number), description="poems", models=["m"])])
    assert len(decider._indexes) == 8


def test_parts_of_words() -> None:
    """Four letters each; single letters are no words."""
    assert terms("a Code, x coder") == {"code": 1, "coder": 1, "~code": 1, "~oder": 1}
