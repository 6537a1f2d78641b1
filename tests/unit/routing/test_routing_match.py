"""The conditions of one route, each by itself."""

from __future__ import annotations

import pytest

from pixiu_py.config.model import RouteMatch
from pixiu_py.http.headers import Headers
from pixiu_py.routing.match import (
    MAX_HOST,
    MAX_SEGMENTS,
    Conditions,
    HeaderTest,
    Hosts,
    Methods,
    Models,
    host_name,
    parse_path,
    parse_prefix,
    problems,
)
from tests.fakes.routing import header, request

# --- path ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "segments", "rest"),
    [
        ("/", (), False),
        ("", (), False),
        ("/a/b", ("a", "b"), False),
        ("/a/b/", ("a", "b"), False),
        ("a/b", ("a", "b"), False),
        ("/a/*/b", ("a", None, "b"), False),
        ("/a/:id", ("a", None), False),
        ("/a/**", ("a",), True),
        ("/**", (), True),
    ],
)
def test_a_path_is_split_into_text_any_and_rest(pattern: str, segments: tuple[str | None, ...], rest: bool) -> None:
    parsed = parse_path(pattern)
    assert (parsed.segments, parsed.rest) == (segments, rest)


def test_variables_are_named_by_their_place() -> None:
    assert parse_path("/a/:id/b/:rest-of/*").variables == ((1, "id"), (3, "rest-of"))


def test_a_prefix_is_a_path_and_anything_after_it() -> None:
    assert parse_prefix("/v1/") == parse_path("/v1/**")
    assert parse_prefix("/v1/**") == parse_path("/v1/**")
    assert parse_prefix("/") == parse_path("/**")
    assert parse_prefix("/a/:id") == parse_path("/a/:id/**")


def test_the_template_is_the_pattern_in_one_spelling() -> None:
    assert [parse_path(pattern).template for pattern in ("v1/:a/", "/v1/**/", "/", "**")] == [
        "/v1/:a",
        "/v1/**",
        "/",
        "/**",
    ]


def test_text_is_percent_decoded_but_escaped_wildcards_stay_text() -> None:
    assert parse_path("/a%20b/%2A/%3Aid/c%2Fd").segments == ("a b", "*", ":id", "c/d")


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [
        ("/a/**/b", "must be last"),
        ("/**/**", "must be last"),
        ("/a/:", "without a name"),
        ("/:id/:id", "same variable name twice"),
        ("/a//b", "empty segment"),
        ("//a", "empty segment"),
        ("/a*", "inside a segment"),
        ("/a/***", "inside a segment"),
        ("/a?b=c", "query"),
        ("/a#b", "fragment"),
        ("/a" * (MAX_SEGMENTS + 1), "more than 100 segments"),
    ],
)
def test_a_wrong_pattern_is_refused_with_a_reason(pattern: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_path(pattern)


def test_the_longest_allowed_pattern_is_accepted() -> None:
    assert len(parse_path("/a" * MAX_SEGMENTS + "/**").segments) == MAX_SEGMENTS


# --- method ----------------------------------------------------------------------------------------------------------


def test_a_route_without_methods_takes_the_usual_seven() -> None:
    assert Methods([]).names == {"GET", "HEAD", "PUT", "PATCH", "DELETE", "POST", "OPTIONS"}


def test_listed_methods_are_upper_cased_and_a_request_is_not() -> None:
    methods = Methods(["post"])
    assert methods.distance("POST") == 0
    assert methods.distance("post") is None


def test_distance_prefers_listed_over_head_by_get_over_any() -> None:
    assert Methods(["GET", "HEAD"]).distance("HEAD") == 0
    assert Methods(["GET"]).distance("HEAD") == 1
    assert Methods([]).distance("HEAD") == 2
    assert Methods(["*"]).distance("PURGE") == 2
    assert Methods(["GET", "*"]).distance("GET") == 0
    assert Methods(["POST"]).distance("HEAD") is None
    assert Methods([]).distance("TRACE") is None


# --- host ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("API.Example.com", "api.example.com"),
        ("api.example.com:8080", "api.example.com"),
        ("api.example.com.", "api.example.com"),
        ("api.example.com.:443", "api.example.com"),
        ("[2001:DB8::1]:8080", "[2001:db8::1]"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("", ""),
        (None, ""),
        ("a" * MAX_HOST + ":65535", "a" * MAX_HOST),
        ("a" * (MAX_HOST + 1), ""),
    ],
)
def test_host_name_has_no_port_no_root_dot_and_no_case(field: str | None, name: str) -> None:
    assert host_name(field) == name


def test_a_star_host_takes_any_depth_but_not_the_domain_itself() -> None:
    hosts = Hosts(["*.Example.com"])
    assert hosts.holds("a.example.com")
    assert hosts.holds("a.b.example.com")
    assert not hosts.holds("example.com")
    assert not hosts.holds("badexample.com")
    assert not hosts.holds("")


def test_an_exact_host_takes_no_subdomain() -> None:
    hosts = Hosts(["Example.com."])
    assert hosts.holds("example.com")
    assert not hosts.holds("a.example.com")


# --- header ----------------------------------------------------------------------------------------------------------


def lines(*values: str) -> Headers:
    return Headers([(b"X-Env", value.encode()) for value in values])


def test_a_header_condition_wants_any_of_its_values_exactly() -> None:
    test = HeaderTest(header("x-ENV", "a", "b"))
    assert test.holds(lines("b"))
    assert not test.holds(lines("B"))
    assert not test.holds(lines("ab"))
    assert not test.holds(lines())


def test_a_header_condition_without_values_wants_the_header_to_be_there() -> None:
    test = HeaderTest(header("X-Env"))
    assert test.holds(lines(""))
    assert not test.holds(lines())


def test_a_regex_is_searched_for_in_the_value_and_only_the_first_counts() -> None:
    test = HeaderTest(header("X-Env", "t[eo]st", "other", regex=True))
    assert test.holds(lines("my-tost-1"))
    assert not test.holds(lines("other"))
    assert not test.holds(lines())


def test_one_line_of_a_repeated_header_is_enough() -> None:
    assert HeaderTest(header("X-Env", "b")).holds(lines("a", "b"))
    assert HeaderTest(header("X-Env", "^b", regex=True)).holds(lines("a", "b"))


# --- model -----------------------------------------------------------------------------------------------------------


def test_a_model_is_named_exactly_or_by_its_beginning() -> None:
    models = Models(["gpt-4o", "claude-*"])
    assert models.holds("gpt-4o")
    assert not models.holds("gpt-4o-mini")
    assert models.holds("claude-")
    assert models.holds("claude-x")
    assert not models.holds("Claude-x")


def test_no_model_meets_no_condition_on_models() -> None:
    assert Models(["*"]).holds("m")
    assert not Models(["*"]).holds("")


# --- all together ----------------------------------------------------------------------------------------------------


def holds(match: RouteMatch, host: str = "", model: str | None = "", **named: str) -> bool:
    return Conditions(match).hold(request("/", "GET", None, **named).headers, host, model)


def test_with_a_prefix_or_path_all_headers_must_hold() -> None:
    for match in (
        RouteMatch(prefix="/", headers=[header("a", "1"), header("b")]),
        RouteMatch(path="/", headers=[header("a", "1"), header("b")]),
    ):
        assert holds(match, a="1", b="x")
        assert not holds(match, a="1")


def test_with_headers_only_one_is_enough_but_hosts_and_models_must_hold_too() -> None:
    match = RouteMatch(headers=[header("a", "1"), header("b")], hosts=["h"], models=["m"])
    assert holds(match, "h", "m", a="1")
    assert holds(match, "h", "m", b="x")
    assert not holds(match, "h", "m")
    assert not holds(match, "other", "m", a="1")
    assert not holds(match, "h", "other", a="1")


def test_an_unknown_model_is_taken_to_be_the_right_one() -> None:
    assert holds(RouteMatch(models=["m"]), model=None)
    assert not holds(RouteMatch(models=["m"]), model="")


def test_hosts_and_models_count_once_and_headers_each() -> None:
    match = RouteMatch(
        prefix="/", hosts=["a", "b"], models=["c", "d"], headers=[header("e"), header("f")], methods=["GET"]
    )
    assert Conditions(match).count == 4


# --- problems --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "key", "complaint"),
    [
        (RouteMatch(prefix="/a", path="/b"), "path", "not both"),
        (RouteMatch(prefix="/a/**/b"), "prefix", "must be last"),
        (RouteMatch(path="/:"), "path", "without a name"),
        (RouteMatch(methods=["GET", "NO WAY"]), "methods[1]", "not a method"),
        (RouteMatch(methods=[""]), "methods[0]", "not a method"),
        (RouteMatch(hosts=["a", "a.example.com:80"]), "hosts[1]", "ports are not compared"),
        (RouteMatch(hosts=["http://a"]), "hosts[0]", "not a host name"),
        (RouteMatch(hosts=["a.*.com"]), "hosts[0]", "not a host name"),
        (RouteMatch(hosts=["*"]), "hosts[0]", "not a host name"),
        (RouteMatch(hosts=[""]), "hosts[0]", "not a host name"),
        (RouteMatch(hosts=["."]), "hosts[0]", "not a host name"),
        (RouteMatch(hosts=["*."]), "hosts[0]", "not a host name"),
        (RouteMatch(models=["a*b"]), "models[0]", "at most one *"),
        (RouteMatch(models=["**"]), "models[0]", "at most one *"),
        (RouteMatch(models=[""]), "models[0]", "not a model name"),
        (RouteMatch(headers=[header(" ")]), "headers[0].name", "no name of a header"),
        (RouteMatch(headers=[header("X-A:")]), "headers[0].name", "no name of a header"),
        (RouteMatch(headers=[header("a"), header("b", regex=True)]), "headers[1].values", "must be a regular"),
        (RouteMatch(headers=[header("a", "(", regex=True)]), "headers[0].values[0]", "not a regular expression"),
    ],
)
def test_each_mistake_is_named_with_its_key(match: RouteMatch, key: str, complaint: str) -> None:
    [(place, sentence)] = problems(match)
    assert place == key
    assert complaint in sentence


def test_all_mistakes_are_named_at_once() -> None:
    match = RouteMatch(path="/:", hosts=["*"], models=[""], headers=[header("")])
    assert [key for key, _ in problems(match)] == ["path", "hosts[0]", "models[0]", "headers[0].name"]


def test_a_sound_match_has_no_problems() -> None:
    match = RouteMatch(
        path="/a/:b/**",
        methods=["GET", "*", "m-search"],
        hosts=["a.example.com", "*.example.com", "[::1]", "localhost"],
        models=["gpt-4o", "claude-*", "*"],
        headers=[header("a"), header("b", "("), header("c", "^x", regex=True)],
    )
    assert list(problems(match)) == []
