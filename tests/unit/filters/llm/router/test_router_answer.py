"""Every way in which models answer such a question, and every way in which they fail to."""

from __future__ import annotations

import pytest

from pixiu_py.filters.llm.router.answer import MAX_TEXT, AnswerError, read_answer

NAMES = ["code", "small talk", "Bob's", "Math"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('{"route": ["code"]}', "code"),
        ('{"route": "code"}', "code"),
        ('{"route": ["small talk", "code"]}', "small talk"),
        ('{"route": ["weather", "code"]}', "code"),
        ("{'route': 'code'}", "code"),
        ("{'route': ['small talk']}\\n", "small talk"),
        ('{"route": ["Bob\'s"]}', "Bob's"),
        ('{"routes": [{"name": "code"}]}', "code"),
        ('{"name": "code"}', "code"),
        ('["code"]', "code"),
        ('"code"', "code"),
        ("code", "code"),
        ("`code`.", "code"),
        ("CODE", "code"),
        ("math", "Math"),
        ('{"route": " code "}', "code"),
        ('```json\n{"route": ["code"]}\n```', "code"),
        ('```\n{"route": "code"}\n```\nBecause it is about a program.', "code"),
        ('Sure! {"route": ["code"]} is the one.', "code"),
        ('The routes are ["small talk"].', "small talk"),
        ("{“route”: “code”}", "code"),
        ('{"route": ["code",]}', "code"),
        ('<think>It might be {"route": ["Math"]}.</think>\n{"route": ["code"]}', "code"),
        ('  {"route":\n ["code"] }  ', "code"),
        ("<think>" + "hm " * MAX_TEXT + '</think>{"route": ["code"]}', "code"),
        ('{The user} wants a program.</think>\n\n{"route": ["code"]}', "code"),
        ('{"route": ["code"]}\n{"route": ["Math"]}', "code"),
        ('Of {code, Math} it is {"route": ["code"]}.', "code"),
    ],
)
def test_route_is_found(text: str, name: str) -> None:
    assert read_answer(text, NAMES) == name


@pytest.mark.parametrize(
    "text",
    [
        '{"route": []}',
        '{"route": null}',
        '{"route": ""}',
        '{"route": [""]}',
        '{"route": "other"}',
        '{"route": ["none"]}',
        "{}",
        "[]",
        "null",
        "None",
        "other",
        "",
        "  \n",
        "```json\n{}\n```",
    ],
)
def test_no_route_fits(text: str) -> None:
    """It is an answer like any other."""
    assert read_answer(text, NAMES) == ""


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"route": ["weather"]}', "unknown_route"),
        ('{"route": "codex"}', "unknown_route"),
        ('{"route": ["co', "nonsense"),
        ('{"route": 3}', "nonsense"),
        ('{"route": [3]}', "nonsense"),
        ('{"choice": "code"}', "nonsense"),
        ("I think it is about code.", "nonsense"),
        ("3", "nonsense"),
        ("[" * 5000, "nonsense"),
        ("{" * 5000, "nonsense"),
        ("<think>never ends", "nonsense"),
        ('<think>so {"route": ["code"]}', "nonsense"),
        ("x" * MAX_TEXT + "code", "nonsense"),
    ],
)
def test_what_means_nothing_is_an_error(text: str, kind: str) -> None:
    """A guess would be worse than none."""
    with pytest.raises(AnswerError) as caught:
        read_answer(text, NAMES)
    assert caught.value.kind == kind


def test_a_route_may_be_called_other() -> None:
    """Then the name is meant."""
    assert read_answer('{"route": "other"}', ["other", "code"]) == "other"


def test_of_names_that_differ_in_case_the_exact_one_is_meant() -> None:
    assert read_answer("code", ["Code", "code"]) == "code"
    assert read_answer("Code", ["Code", "code"]) == "Code"
