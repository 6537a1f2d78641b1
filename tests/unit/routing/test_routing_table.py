"""Which route wins. The rules are numbered in the docstring of ``pixiu_py/routing/table.py``."""

from __future__ import annotations

import pytest

from pixiu_py.config.model import Route, RouteAction, RouteMatch
from pixiu_py.routing.table import RouteTable
from tests.fakes.routing import found, header, paths, prefixes, request, table_of

# --- paths -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/user", "/user/", "/user/x", "/user/x/y", "/user?x=1", "/user//x"])
def test_a_prefix_matches_itself_and_what_is_below(target: str) -> None:
    assert found(prefixes("/user"), target) == 0


@pytest.mark.parametrize("target", ["/users", "/", "/x/user", "/use", "/User", "//user"])
def test_a_prefix_ends_at_a_segment(target: str) -> None:
    assert found(prefixes("/user"), target) is None


@pytest.mark.parametrize("target", ["/", "/a", "/a/b/c/d", "//", "/a//b", "/..", "/?x", ""])
def test_the_root_prefix_matches_every_path(target: str) -> None:
    assert found(prefixes("/"), target) == 0


def test_the_root_path_matches_the_root_only() -> None:
    assert found(paths("/"), "/") == 0
    assert found(paths("/"), "/?x=1") == 0
    assert found(paths("/"), "/a") is None


def test_an_exact_path_has_nothing_below_it() -> None:
    assert found(paths("/a/b"), "/a/b") == 0
    assert found(paths("/a/b"), "/a/b/c") is None
    assert found(paths("/a/b"), "/a") is None


def test_trailing_slashes_and_the_query_do_not_count() -> None:
    table = paths("/a/b/")
    for target in ("/a/b", "/a/b/", "/a/b?c=/d", "/a/b/?", "/a/b//"):
        assert found(table, target) == 0


def test_a_star_stands_for_exactly_one_segment() -> None:
    table = paths("/a/*/c")
    assert found(table, "/a/b/c") == 0
    assert found(table, "/a/c") is None
    assert found(table, "/a/b/b/c") is None


def test_an_empty_segment_is_none_for_star_and_variable() -> None:
    assert found(paths("/a/*/c", "/a/:b/c"), "/a//c") is None
    assert found(paths("/a/**"), "/a//c") == 0


def test_two_stars_stand_for_any_rest_even_none() -> None:
    table = paths("/a/**")
    assert found(table, "/a") == found(table, "/a/b") == found(table, "/a/b/c") == 0
    assert found(table, "/ab") is None


def test_values_of_variables_are_decoded_and_belong_to_their_route() -> None:
    table = paths("/a/:id/b/:other", "/a/:name/c")
    match = table.match(request("/a/x%20y/b/%C3%A9?id=2"))
    assert match is not None
    assert match[1] == {"id": "x y", "other": "é"}
    match = table.match(request("/a/7/c/"))
    assert match is not None
    assert match[1] == {"name": "7"}


def test_a_variable_in_a_prefix_has_a_value_too() -> None:
    match = prefixes("/t/:tenant").match(request("/t/acme/v1/chat"))
    assert match is not None
    assert match[1] == {"tenant": "acme"}


def test_a_route_without_variables_has_no_values_and_costs_no_dict() -> None:
    table = prefixes("/")
    first, second = table.match(request("/a")), table.match(request("/b"))
    assert first is not None
    assert second is not None
    assert first[1] == {}
    assert first[1] is second[1]


def test_escapes_are_compared_decoded_on_both_sides() -> None:
    assert found(paths("/a b/c"), "/a%20b/%63") == 0
    assert found(paths("/a%20b/c"), "/a b/c") == 0
    assert found(paths("/%2A"), "/x") is None
    assert found(paths("/%2A"), "/*") == 0


def test_an_encoded_slash_never_splits_a_segment() -> None:
    assert found(paths("/a/b"), "/a%2Fb") is None
    assert found(paths("/a%2Fb"), "/a%2fb") == 0
    match = paths("/files/:name").match(request("/files/x%2Fy"))
    assert match is not None
    assert match[1] == {"name": "x/y"}


def test_escapes_that_are_not_utf8_stay_distinct() -> None:
    assert found(paths("/%FF", "/%FE"), "/%FE") == 1
    assert found(paths("/100%"), "/100%") == 0


def test_dot_segments_are_not_resolved() -> None:
    table = prefixes("/a", "/b")
    assert found(table, "/a/../b") == 0
    assert found(table, "/%2e%2e/b") is None


@pytest.mark.parametrize("target", ["*", "a", "host:443", "http://host/a"])
def test_a_target_that_is_no_path_has_no_route_by_path(target: str) -> None:
    assert found(prefixes("/", "/a"), target) is None


# --- rule 2: the more specific path ----------------------------------------------------------------------------------


def test_text_before_variable_before_rest() -> None:
    table = paths("/a/**", "/a/:x", "/a/b")
    assert found(table, "/a/b") == 2
    assert found(table, "/a/c") == 1
    assert found(table, "/a/b/c") == 0
    assert found(table, "/a") == 0


def test_the_longest_prefix_wins() -> None:
    table = prefixes("/", "/v1", "/v1/chat")
    assert found(table, "/v1/chat/completions") == 2
    assert found(table, "/v1/models") == 1
    assert found(table, "/v2") == 0


def test_the_leftmost_difference_decides() -> None:
    table = paths("/*/b/c", "/a/**")
    assert found(table, "/a/b/c") == 1
    assert found(table, "/x/b/c") == 0


def test_a_path_that_ends_comes_before_a_rest_that_is_empty() -> None:
    assert found(paths("/a/**", "/a"), "/a") == 1


def test_a_branch_without_an_end_falls_back() -> None:
    table = paths("/a/b/c", "/a/*/d", "/**")
    assert found(table, "/a/b/d") == 1
    assert found(table, "/a/b/e") == 2


def test_a_branch_whose_method_does_not_fit_falls_back() -> None:
    table = table_of(RouteMatch(path="/a/b", methods=["POST"]), RouteMatch(prefix="/a"))
    assert found(table, "/a/b", "POST") == 0
    assert found(table, "/a/b", "GET") == 1


def test_a_branch_whose_conditions_do_not_hold_falls_back() -> None:
    table = table_of(
        RouteMatch(path="/a/b", headers=[header("x-env", "test")]), RouteMatch(path="/a/:x"), RouteMatch(prefix="/a")
    )
    assert found(table, "/a/b", x_env="test") == 0
    assert found(table, "/a/b", x_env="prod") == 1


# --- rule 3: routes with the same pattern ----------------------------------------------------------------------------


def test_the_first_in_the_configuration_wins_among_equals() -> None:
    assert found(prefixes("/a", "/a"), "/a") == 0
    assert found(paths("/a/:x", "/a/*"), "/a/b") == 0
    assert found(table_of(RouteMatch(prefix="/a"), RouteMatch(path="/a/**")), "/a") == 0


@pytest.mark.parametrize(
    "match",
    [
        RouteMatch(prefix="/a", hosts=["h"]),
        RouteMatch(prefix="/a", headers=[header("x-env", "test")]),
        RouteMatch(prefix="/a", models=["m"]),
        RouteMatch(prefix="/a", methods=["POST"]),
    ],
)
def test_a_condition_that_holds_wins_over_none(match: RouteMatch) -> None:
    table = table_of(RouteMatch(prefix="/a"), match)
    assert found(table, "/a", "POST", "m", host="h", x_env="test") == 1
    assert found(table, "/a", "PUT", "n", host="g", x_env="prod") == 0


def test_more_conditions_win_over_fewer() -> None:
    table = table_of(
        RouteMatch(prefix="/", hosts=["h"]),
        RouteMatch(prefix="/", hosts=["h"], headers=[header("a")]),
        RouteMatch(prefix="/", hosts=["h"], headers=[header("a"), header("b")]),
        RouteMatch(prefix="/", headers=[header("a"), header("b")], models=["m"], hosts=["h"]),
    )
    assert found(table, "/", host="h") == 0
    assert found(table, "/", host="h", a="1") == 1
    assert found(table, "/", host="h", a="1", b="1") == 2
    assert found(table, "/", model="m", host="h", a="1", b="1") == 3


def test_conditions_that_hold_win_over_a_listed_method() -> None:
    table = table_of(RouteMatch(prefix="/", methods=["GET"]), RouteMatch(prefix="/", hosts=["h"]))
    assert found(table, "/", host="h") == 1
    assert found(table, "/", host="g") == 0


def test_equal_numbers_of_conditions_go_by_config_order() -> None:
    table = table_of(
        RouteMatch(prefix="/", models=["m-*"]),
        RouteMatch(prefix="/", headers=[header("a")]),
        RouteMatch(prefix="/", hosts=["*.h"]),
        RouteMatch(prefix="/", hosts=["a.h"]),
    )
    assert found(table, "/", model="m-1", a="1", host="a.h") == 0
    assert found(table, "/", a="1", host="a.h") == 1
    assert found(table, "/", host="a.h") == 2


# --- methods ---------------------------------------------------------------------------------------------------------


def test_a_route_without_methods_takes_seven_and_no_other() -> None:
    table = prefixes("/")
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "POST", "OPTIONS"):
        assert found(table, "/", method) == 0
    for method in ("TRACE", "CONNECT", "PURGE", "get"):
        assert found(table, "/", method) is None


def test_method_names_are_upper_cased_in_the_configuration_only() -> None:
    table = table_of(RouteMatch(prefix="/", methods=["purge"]))
    assert found(table, "/", "PURGE") == 0
    assert found(table, "/", "purge") is None


def test_get_brings_head_with_it() -> None:
    table = table_of(RouteMatch(prefix="/", methods=["GET"]), RouteMatch(prefix="/a", methods=["POST"]))
    assert found(table, "/x", "HEAD") == 0
    assert found(table, "/a", "HEAD") == 0


def test_a_route_that_lists_head_wins_head_over_one_that_lists_get() -> None:
    table = table_of(RouteMatch(prefix="/", methods=["GET"]), RouteMatch(prefix="/", methods=["HEAD"]))
    assert found(table, "/", "HEAD") == 1
    assert found(table, "/", "GET") == 0


def test_a_star_takes_any_method_and_gives_way_to_a_listed_one() -> None:
    table = table_of(RouteMatch(prefix="/", methods=["*"]), RouteMatch(prefix="/", methods=["GET"]))
    assert found(table, "/", "GET") == 1
    assert found(table, "/", "POST") == 0
    assert found(table, "/", "PURGE") == 0


def test_a_star_is_reached_when_the_conditions_of_a_listed_method_do_not_hold() -> None:
    table = table_of(RouteMatch(prefix="/", methods=["GET"], hosts=["h"]), RouteMatch(prefix="/", methods=["*"]))
    assert found(table, "/", host="h") == 0
    assert found(table, "/", host="g") == 1


# --- rule 1: routes with headers only --------------------------------------------------------------------------------


def test_header_only_routes_come_first_whatever_the_path() -> None:
    table = table_of(RouteMatch(path="/a/b"), RouteMatch(headers=[header("x-env", "test")]))
    assert found(table, "/a/b", x_env="test") == 1
    assert found(table, "*", x_env="test") == 1
    assert found(table, "/a/b", x_env="prod") == 0


def test_header_only_routes_need_one_of_their_headers() -> None:
    table = table_of(RouteMatch(headers=[header("a", "1"), header("b", "2")]))
    assert found(table, "/", a="1") == 0
    assert found(table, "/", b="2") == 0
    assert found(table, "/", a="2", b="1") is None


def test_header_only_routes_go_by_config_order_not_by_number_of_conditions() -> None:
    table = table_of(
        RouteMatch(headers=[header("b", "2")]),
        RouteMatch(headers=[header("a", "1"), header("b", "2")], hosts=["h"], methods=["GET"]),
    )
    assert found(table, "/", a="1", b="2", host="h") == 0
    assert found(table, "/", a="1", host="h") == 1


def test_header_only_routes_check_methods_hosts_and_models() -> None:
    table = table_of(RouteMatch(headers=[header("a")], methods=["POST"], hosts=["h"], models=["m"]))
    assert found(table, "/", "POST", "m", a="1", host="h") == 0
    assert found(table, "/", "GET", "m", a="1", host="h") is None
    assert found(table, "/", "POST", "n", a="1", host="h") is None
    assert found(table, "/", "POST", "m", a="1", host="g") is None


def test_headers_beside_a_prefix_must_all_hold() -> None:
    table = table_of(RouteMatch(prefix="/", headers=[header("a", "1"), header("b", "2")]))
    assert found(table, "/", a="1", b="2") == 0
    assert found(table, "/", a="1") is None


def test_a_match_without_path_and_headers_takes_every_path() -> None:
    assert found(table_of(RouteMatch()), "/any/path") == 0
    assert found(table_of(RouteMatch(models=["m"])), "/any/path", model="m") == 0
    assert found(table_of(RouteMatch(hosts=["h"])), "/any/path", host="h:80") == 0


# --- models ----------------------------------------------------------------------------------------------------------


def needs(table: RouteTable[int], target: str, method: str = "GET", **named: str) -> bool:
    return table.needs_model(request(target, method, None, **named))


def test_no_model_is_needed_where_no_route_has_models() -> None:
    assert not needs(prefixes("/"), "/")


def test_the_model_is_needed_where_only_the_model_is_open() -> None:
    table = table_of(RouteMatch(prefix="/v1", models=["m"], methods=["POST"], hosts=["h"]), RouteMatch(prefix="/"))
    assert needs(table, "/v1/chat", "POST", host="h")
    assert not needs(table, "/v1/chat", "GET", host="h")
    assert not needs(table, "/v1/chat", "POST", host="g")
    assert not needs(table, "/v2/chat", "POST", host="h")


def test_no_model_is_needed_where_a_better_route_is_certain() -> None:
    table = table_of(RouteMatch(prefix="/v1", models=["m"]), RouteMatch(path="/v1/files"))
    assert not needs(table, "/v1/files")
    assert needs(table, "/v1/chat")


def test_the_model_is_needed_for_header_only_routes_too() -> None:
    table = table_of(RouteMatch(headers=[header("a")], models=["m"]), RouteMatch(prefix="/"))
    assert needs(table, "/", a="1")
    assert not needs(table, "/", b="1")


def test_without_a_model_the_next_route_is_found() -> None:
    table = table_of(RouteMatch(prefix="/", models=["*"]), RouteMatch(prefix="/"))
    assert found(table, "/", model="m") == 0
    assert found(table, "/", model="") == 1


# --- the compiled route ----------------------------------------------------------------------------------------------


def test_a_compiled_route_tells_what_it_was_made_of() -> None:
    action = RouteAction(cluster="llm", cluster_not_found_response_code=504)
    payload = object()
    table = RouteTable([(Route(id="chat", match=RouteMatch(prefix="/v1/:tenant/"), route=action), payload)])
    match = table.match(request("/v1/acme/chat"))
    assert match is not None
    route = match[0]
    assert (route.id, route.template, route.cluster, route.status_without_endpoint) == (
        "chat",
        "/v1/:tenant/**",
        "llm",
        504,
    )
    assert route.payload is payload
    assert repr(route) == "<CompiledRoute chat /v1/:tenant/** to llm>"
    assert table.routes == (route,)


def test_a_route_without_id_goes_by_its_template() -> None:
    assert paths("/a/:b").routes[0].id == "/a/:b"


def test_a_faulty_route_is_refused_by_name() -> None:
    bad = Route(id="bad", match=RouteMatch(path="/a/**/b"), route=RouteAction())
    with pytest.raises(ValueError, match=r"route bad: path: .* must be last"):
        RouteTable([(bad, None)])


def test_an_empty_table_finds_nothing() -> None:
    assert found(table_of(), "/") is None
    assert not needs(table_of(), "/")


# --- cost ------------------------------------------------------------------------------------------------------------


class CountingDict(dict[str, object]):
    """Counts look-ups over all instances."""

    looked_up = 0

    def get(self, *args: object) -> object:
        CountingDict.looked_up += 1
        return super().get(*args)  # type: ignore[call-overload]


def count_look_ups(table: RouteTable[int], target: str) -> int:
    """Trie look-ups of one match."""
    nodes = [table._root]
    while nodes:
        node = nodes.pop()
        nodes += [*node.exact.values(), *([node.any] if node.any else [])]
        node.exact = CountingDict(node.exact)  # type: ignore[assignment]
        node.ends = CountingDict(node.ends)  # type: ignore[assignment]
        node.rests = CountingDict(node.rests)  # type: ignore[assignment]
    CountingDict.looked_up = 0
    assert found(table, target) is not None
    return CountingDict.looked_up


@pytest.mark.parametrize("target", ["/v1/chat/completions", "/svc3/api/x", "/svc3/7/end", "/nowhere/at/all"])
def test_the_number_of_look_ups_does_not_grow_with_the_number_of_routes(target: str) -> None:
    def build(size: int) -> RouteTable[int]:
        services = [pattern for n in range(size // 2) for pattern in (f"/svc{n}/api/**", f"/svc{n}/:id/end")]
        return paths("/**", "/v1/**", *services)

    few, many = count_look_ups(build(10), target), count_look_ups(build(10_000), target)
    assert few == many <= 8


def test_a_long_path_is_split_no_deeper_than_the_deepest_pattern() -> None:
    table = paths("/a/**", "/b/c")
    assert len(table._split("/a" * 5_000)) == 4
    assert found(table, "/a" * 5_000) == 0
