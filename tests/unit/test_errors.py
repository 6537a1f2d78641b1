"""Rules of the exception tree: every request error knows its status, its side and its short name."""

from __future__ import annotations

import pytest

from pixiu_py import errors
from pixiu_py.errors import ConfigError, GatewayError, PixiuError, Problem, Side, UpstreamReset, UpstreamTimeout


def subclasses(cls):
    return [cls, *(found for child in cls.__subclasses__() for found in subclasses(child))]


OURS = [cls for cls in subclasses(GatewayError) if cls.__module__ == errors.__name__]


@pytest.mark.parametrize("cls", OURS)
def test_every_request_error_says_what_to_answer_and_who_is_at_fault(cls):
    assert 400 <= cls.status <= 599
    assert isinstance(cls.side, Side)
    assert cls.kind.replace("_", "").isalpha()
    assert cls.kind.islower()
    # A fault of the client is answered 4xx, ours and the endpoint's 5xx.
    assert (cls.status < 500) == (cls.side is Side.DOWNSTREAM)


def test_kinds_are_distinct():
    kinds = [cls.kind for cls in OURS]
    assert len(kinds) == len(set(kinds))


def test_all_share_one_base():
    names = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, Exception)]
    assert len(names) > len(OURS)
    assert all(issubclass(cls, PixiuError) for cls in names)


def test_the_message_is_the_detail_or_the_kind():
    assert str(GatewayError("why")) == "why"
    assert str(GatewayError()) == "internal_error"
    assert GatewayError().detail == ""


@pytest.mark.parametrize("phase", ["connect", "first_byte", "idle", "total"])
def test_a_timeout_names_its_phase(phase):
    error = UpstreamTimeout(phase)
    assert (error.phase, error.kind, error.status) == (phase, f"timeout_{phase}", 504)


def test_a_reset_knows_whether_any_byte_came():
    assert not UpstreamReset().bytes_seen
    assert UpstreamReset("mid-body", bytes_seen=True).bytes_seen


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("a.b", "wrong"), "a.b: wrong"),
        (Problem("a.b", "wrong", "conf.yaml"), "conf.yaml: a.b: wrong"),
        (Problem("a.b", "wrong", "conf.yaml", 3, 7), "conf.yaml:3:7: a.b: wrong"),
        (Problem("", "wrong", "conf.yaml", 3, 7), "conf.yaml:3:7: wrong"),
    ],
)
def test_a_problem_shows_what_is_known_of_its_place(problem, text):
    assert str(problem) == text


def test_a_config_error_carries_every_problem():
    problems = [Problem("a", "one"), Problem("b", "two")]
    error = ConfigError(problems)
    assert error.problems == problems
    assert str(error) == "a: one\nb: two"
