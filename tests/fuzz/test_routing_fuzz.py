"""Invariant: the compiled table answers as trying every route in turn, by the rules as written, would."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from pixiu_py.config.model import HeaderMatch, RouteMatch
from pixiu_py.http.exchange import Request
from pixiu_py.routing.match import parse_path
from tests.fakes.routing import request, table_of

# --- the rules, written as slowly as they read -----------------------------------------------------------------------

END, TEXT, ANY, REST = 0, 0, 1, 2


def path_rank(match: RouteMatch, path: str) -> list[int] | None:
    """How specifically the path is matched, per segment; smaller is better. None: not at all."""
    pattern = match.path or match.prefix.rstrip("/") + "/**"
    wanted = [part for part in pattern.split("/") if part]
    given = path.rstrip("/").split("/")[1:]
    rank: list[int] = []
    for place, part in enumerate(wanted):
        if part == "**":
            return [*rank, REST]
        if place >= len(given):
            return None
        is_any = part == "*" or part.startswith(":")
        if given[place] == "" if is_any else given[place] != part:
            return None
        rank.append(ANY if is_any else TEXT)
    return [*rank, END] if len(wanted) == len(given) else None


def method_rank(match: RouteMatch, method: str) -> int | None:
    if method in match.methods:
        return 0
    if method == "HEAD" and "GET" in match.methods:
        return 1
    if "*" in match.methods or (
        not match.methods and method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "POST", "OPTIONS"]
    ):
        return 2
    return None


def header_holds(condition: HeaderMatch, asked: Request) -> bool:
    values = asked.headers.getall(condition.name)
    if condition.regex:
        return any(re.search(condition.values[0], value) for value in values)
    return any(not condition.values or value in condition.values for value in values)


def conditions_hold(match: RouteMatch, asked: Request, model: str) -> bool:
    host = asked.headers.get("host") or ""
    if match.hosts and not any(host == name or (name[0] == "*" and host.endswith(name[1:])) for name in match.hosts):
        return False
    if match.models and not (
        model and any(model == name or (name[-1] == "*" and model.startswith(name[:-1])) for name in match.models)
    ):
        return False
    holds = [header_holds(condition, asked) for condition in match.headers]
    return (any if is_header_only(match) else all)(holds)


def is_header_only(match: RouteMatch) -> bool:
    return bool(match.headers) and not match.path and not match.prefix


def slowly(matches: list[RouteMatch], asked: Request, model: str) -> int | None:
    fitting = [
        (index, match)
        for index, match in enumerate(matches)
        if method_rank(match, asked.method) is not None and conditions_hold(match, asked, model)
    ]
    for index, match in fitting:
        if is_header_only(match):
            return index
    ranked = []
    for index, match in fitting:
        rank = path_rank(match, asked.path)
        if rank is not None and not is_header_only(match):
            conditions = len(match.headers) + bool(match.hosts) + bool(match.models)
            ranked.append((rank, -conditions, method_rank(match, asked.method), index))
    return min(ranked)[-1] if ranked else None


# --- routes and requests over a small alphabet, so that they meet ----------------------------------------------------


def some(*values: str, most: int = 2) -> st.SearchStrategy[list[str]]:
    """Mostly nothing, else a few of these."""
    return st.one_of(st.just([]), st.lists(st.sampled_from(values), max_size=most, unique=True))


patterns = st.builds(
    lambda parts, end: "/" + "/".join([*parts, *end]),
    st.lists(st.sampled_from(["a", "b", "*", ":x"]), max_size=4).filter(lambda parts: parts.count(":x") < 2),
    st.sampled_from([[], [], ["**"]]),
)
ways: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries({"path": patterns}),
    st.fixed_dictionaries({"prefix": patterns.filter(lambda pattern: "**" not in pattern)}),
    st.just({}),
)
conditions = st.lists(
    st.one_of(
        st.builds(HeaderMatch, name=st.sampled_from("pq"), values=some("1", "2")),
        st.builds(HeaderMatch, name=st.sampled_from("pq"), values=st.just(["[12]"]), regex=st.just(True)),
    ),
    max_size=2,
)
route_matches = st.builds(
    lambda way, **rest: RouteMatch(**way, **rest),
    ways,
    methods=some("GET", "HEAD", "POST", "*"),
    headers=st.one_of(st.just([]), conditions),
    hosts=some("h", "a.h", "*.h"),
    models=some("m", "mm", "m*", "*"),
)
targets = st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=6).map(lambda parts: "/" + "/".join(parts))
requests = st.builds(
    lambda target, method, fields: request(target, method, fields),
    targets,
    st.sampled_from(["GET", "HEAD", "POST", "TRACE"]),
    st.lists(
        st.one_of(
            st.tuples(st.just("Host"), st.sampled_from(["h", "a.h", "b.a.h", "x"])),
            st.tuples(st.sampled_from(["P", "q"]), st.sampled_from(["1", "2", "3"])),
        ),
        max_size=3,
        unique_by=lambda field: field if field[0] != "Host" else "Host",
    ),
)
MODELS = ["", "m", "mm", "mmm", "x"]


@given(st.lists(route_matches, max_size=12), st.lists(requests, min_size=1, max_size=8))
def test_the_table_agrees_with_trying_every_route(matches: list[RouteMatch], asked: list[Request]) -> None:
    table = table_of(*matches)
    for one in asked:
        for model in MODELS:
            match = table.match(one, model)
            assert (None if match is None else match[0].payload) == slowly(matches, one, model)


@given(st.lists(route_matches, max_size=12), requests)
def test_the_model_is_needed_exactly_when_some_model_changes_the_answer(
    matches: list[RouteMatch], asked: Request
) -> None:
    table = table_of(*matches)
    answers = {slowly(matches, asked, model) for model in MODELS}
    assert table.needs_model(asked) == (len(answers) > 1)


@given(st.text(alphabet="/ab:*%2F?#.é\udcff", max_size=30))
@example("/%")
@example("//")
def test_any_text_is_a_pattern_or_a_value_error_and_any_target_can_be_asked_for(text: str) -> None:
    try:
        pattern = parse_path(text)
    except ValueError:
        table = table_of(RouteMatch(prefix="/"))
    else:
        assert parse_path(pattern.template) == pattern
        table = table_of(RouteMatch(path=text))
    table.match(request(text))


@given(st.lists(st.text(min_size=1).filter(lambda text: not set(text) & set("/%?#*:\ud800")), min_size=1, max_size=5))
def test_a_path_of_plain_text_matches_itself(segments: list[str]) -> None:
    path = "/" + "/".join(segments)
    match = table_of(RouteMatch(prefix="/"), RouteMatch(path=path)).match(request(path))
    assert match is not None
    assert match[0].payload == 1
