"""The prompt: routes in their order, the latest messages, and never more than its budget."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixiu_py.filters.llm.router.conversation import Conversation, Message
from pixiu_py.filters.llm.router.model import Preference
from pixiu_py.filters.llm.router.prompt import build_prompt, latest, without_middle

ROUTES = [Preference(name=name, description=f'about {name}, "{{}}" and </routes>', models=["m"]) for name in "zab"]


def prompt(*messages: Message, tokens: int = 8192, last: int = 16) -> str:
    """The prompt, which must be there."""
    built = build_prompt(ROUTES, Conversation("", messages), tokens, last)
    assert built is not None
    return built


def shown(*messages: Message, tokens: int = 8192, last: int = 16) -> list[dict[str, str]]:
    """The conversation in the prompt."""
    text = prompt(*messages, tokens=tokens, last=last)
    inside = text.split("<conversation>\n")[1].split("\n</conversation>")[0]
    found: list[dict[str, str]] = orjson.loads(inside)
    return found


def user(text: str) -> Message:
    return Message("user", text)


def test_routes_are_in_declared_order() -> None:
    """One JSON object per line; quotes and braces in a description are a description."""
    inside = prompt(user("hi")).split("<routes>\n")[1].split("\n</routes>\n\n<conversation>")[0]
    listed = [orjson.loads(line) for line in inside.splitlines()]
    assert listed == [{"name": route.name, "description": route.description} for route in ROUTES]


def test_beginning_is_the_same_for_every_request() -> None:
    """So that an engine's prefix cache helps."""
    first, second = prompt(user("hi")), prompt(user("bye"))
    assert first.split("<conversation>")[0] == second.split("<conversation>")[0]


def test_only_what_user_and_assistant_said() -> None:
    """No system text, no tool's answer, no call without text, no image."""
    messages = [
        Message("system", "secret"),
        Message("user", "look", attached=True),
        Message("assistant", ""),
        Message("tool", "42"),
        Message("assistant", "I see"),
        Message("user", " \n"),
    ]
    assert shown(*messages) == [{"role": "user", "content": "look"}, {"role": "assistant", "content": "I see"}]


def test_only_the_last_messages() -> None:
    assert [line["content"] for line in shown(*map(user, "abcdef"), last=2)] == ["e", "f"]


def test_older_messages_give_way() -> None:
    """The newest are whole; the user's message at the border loses its middle, an assistant's is left out."""
    long = user("A" * 1500 + "B" * 1500)
    got = shown(long, user("newest"), tokens=600)
    assert got[1]["content"] == "newest"
    assert got[0]["content"].startswith("AAA")
    assert got[0]["content"].endswith("BBB")
    assert "…" in got[0]["content"]
    assert shown(Message("assistant", "A" * 3000), user("newest"), tokens=600) == [
        {"role": "user", "content": "newest"}
    ]


def test_one_huge_message_stays_within_the_budget() -> None:
    """Whoever wrote it: half a megabyte pasted in does not overflow the router's context."""
    for role in ("user", "assistant"):
        text = prompt(Message(role, "head" + "x\n" * 250_000 + "tail"), tokens=1024)
        assert len(text.encode()) <= 4096
        assert "head" in text
        assert "tail" in text


def test_nothing_to_show_or_no_room() -> None:
    """Then there is no prompt, and so no call."""
    assert build_prompt(ROUTES, Conversation("", (Message("tool", "x"),)), 8192, 16) is None
    many = [Preference(name=str(number), description="d" * 100, models=["m"]) for number in range(50)]
    assert build_prompt(many, Conversation("", (user("hi"),)), 256, 16) is None


@settings(deadline=None)
@given(
    st.lists(st.builds(Message, st.sampled_from(["user", "assistant"]), st.text(max_size=80)), max_size=6),
    st.integers(0, 300),
)
def test_lines_fit_into_their_room(messages: list[Message], room: int) -> None:
    """Escapes and several bytes a letter included; what is kept is the end of the conversation."""
    lines = latest(messages, room)
    assert sum(len(line) + 2 for line in lines) <= max(room, 0)
    kept = [orjson.loads(line) for line in lines]
    for message, line in zip(messages[len(messages) - len(kept) :], kept, strict=True):
        assert line["role"] == message.role


@pytest.mark.parametrize(
    ("text", "limit", "cut"),
    [
        ("short", 5, "short"),
        ("0123456789abcdefghij", 13, "012345…ghij"),
        ("abcdef", 3, "abc"),
        ("abcdef", 0, ""),
        ("ääääää", 9, "ä…ä"),
    ],
)
def test_middle_is_cut_out(text: str, limit: int, cut: str) -> None:
    """Three fifths head, two fifths tail, whole letters."""
    assert without_middle(text, limit) == cut
