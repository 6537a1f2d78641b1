"""Rules: each condition holds where it says so, and the first rule of which all hold is the decision."""

from __future__ import annotations

from typing import Any

import pytest

from pixiu_py.filters.llm.router.conversation import Conversation, read_conversation
from pixiu_py.filters.llm.router.model import Preference
from pixiu_py.filters.llm.router.rules import Rule, Rules, RulesConfig
from tests.fakes.exchange import make_context

ROUTES = [Preference(name=name, description=name, models=["m"]) for name in ("code", "chat")]


def user(text: str, **body: Any) -> Conversation:
    """A conversation with one message."""
    return read_conversation({"messages": [{"role": "user", "content": text}], **body})


def decide(conversation: Conversation, *rules: Rule, routes: list[Preference] = ROUTES, **config: Any) -> str | None:
    """The route that these rules choose."""
    return Rules(RulesConfig(rules=list(rules), **config), make_context()).decide(conversation, routes)


def holds(conversation: Conversation, **conditions: Any) -> bool:
    """Whether a rule with these conditions does."""
    return decide(conversation, Rule(route="code", **conditions)) == "code"


@pytest.mark.parametrize(
    ("text", "found"), [("a Python bug", True), ("PYTHON", True), ("pythonic", False), ("use C++!", True), ("", False)]
)
def test_keywords_are_whole_words(text: str, found: bool) -> None:
    """In any case, and also those that end with a sign."""
    assert holds(user(text), keywords=["python", "c++"]) is found


def test_only_the_latest_message_of_the_user_counts() -> None:
    """What was said before is settled, and what a tool says is no wish."""
    messages = [
        {"role": "user", "content": "code"},
        {"role": "user", "content": "thanks"},
        {"role": "tool", "content": "code"},
    ]
    assert not holds(read_conversation({"messages": messages}), keywords=["code"])
    assert holds(read_conversation({"messages": messages}), keywords=["thanks"])


def test_patterns_are_looked_for_where_they_are_meant_for() -> None:
    assert holds(user("def f(): pass"), regex=r"\bdef \w+\(")
    assert not holds(user("deaf"), regex=r"\bdef \w+\(")
    assert holds(user("", system="You write code."), system_regex="code")
    assert not holds(user("code"), system_regex="code")


def test_length_is_of_the_whole_conversation() -> None:
    """Four bytes are a token; both ends count."""
    assert [holds(user("x" * 40), min_tokens=low, max_tokens=high) for low, high in ((10, 10), (11, 0), (0, 9))] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("wanted", [True, False])
def test_tools_and_images(wanted: bool) -> None:
    """There, or not there."""
    tools = {"tools": [{"name": "sum"}]} if wanted else {}
    assert holds(user("x", **tools), tools=wanted)
    assert not holds(user("x", **tools), tools=not wanted)
    content = [{"type": "image_url"}] if wanted else "x"
    conversation = read_conversation({"messages": [{"role": "user", "content": content}]})
    assert holds(conversation, images=wanted)
    assert not holds(conversation, images=not wanted)


def test_all_conditions_and_the_first_rule() -> None:
    """A rule without conditions holds for every request."""
    rules = [
        Rule(route="code", keywords=["bug"], min_tokens=5),
        Rule(route="chat"),
        Rule(route="code"),
    ]
    assert decide(user("bug"), *rules) == "chat"
    assert decide(user("bug " * 10), *rules) == "code"


def test_rule_of_another_set_of_routes_is_passed_over() -> None:
    """A request that brings its own routes is not decided by rules for others; an empty route ends the matter."""
    assert decide(user("x"), Rule(route="gone"), Rule(route="chat")) == "chat"
    assert decide(user("x"), Rule(route=""), Rule(route="chat")) == ""
    assert decide(user("x"), Rule(route="chat", keywords=["y"])) is None


def test_texts_are_searched_up_to_a_limit() -> None:
    """A pattern's cost is bounded, whatever a client sends."""
    assert decide(user("x" * 256 + " code"), Rule(route="code", keywords=["code"]), max_text=256) is None
    assert decide(user("x" * 256 + " code"), Rule(route="code", keywords=["code"])) == "code"


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"regex": "("}, "regex:"),
        ({"system_regex": "["}, "system_regex:"),
        ({"min_tokens": 2, "max_tokens": 1}, "less"),
    ],
)
def test_rules_that_cannot_hold_are_refused(conditions: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rule(route="code", **conditions)
