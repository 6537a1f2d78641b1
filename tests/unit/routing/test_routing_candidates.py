"""Routes with the same pattern are found by what the request brings, not by trying each."""

from __future__ import annotations

import pytest

from pixiu_py.config.model import RouteMatch
from pixiu_py.routing.match import Conditions
from pixiu_py.routing.table import RouteTable
from tests.fakes.routing import found, header, request, table_of


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Conditions]:
    """The conditions that were tried, one by one."""
    tried: list[Conditions] = []
    hold = Conditions.hold

    def counted(self: Conditions, *args: object) -> bool:
        tried.append(self)
        return hold(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Conditions, "hold", counted)
    return tried


def many() -> RouteTable[int]:
    """A thousand routes on one pattern for each dimension, all different; the catch-all comes last."""
    return table_of(
        *(RouteMatch(prefix="/", hosts=[f"h{n}.example.com"]) for n in range(1000)),
        *(RouteMatch(prefix="/", hosts=[f"*.d{n}.org"]) for n in range(1000)),
        *(RouteMatch(prefix="/", headers=[header("x-env", f"e{n}")]) for n in range(1000)),
        *(RouteMatch(prefix="/", models=[f"m{n}"]) for n in range(1000)),
        *(RouteMatch(prefix="/", models=[f"p{n}-*"]) for n in range(1000)),
        RouteMatch(prefix="/"),
    )


def test_only_what_the_request_brings_is_tried(tried: list[Conditions]) -> None:
    table = many()
    assert found(table, "/", host="h7.example.com") == 7
    assert found(table, "/", host="a.b.d7.org") == 1007
    assert found(table, "/", x_env="e7") == 2007
    assert found(table, "/", model="m7") == 3007
    assert found(table, "/", model="p7-x") == 4007
    assert found(table, "/", host="other", x_env="other", model="other") == 5000
    assert len(tried) == 5


def test_all_that_the_request_brings_is_tried_in_order(tried: list[Conditions]) -> None:
    assert found(many(), "/", host="h7.example.com", x_env="e8", model="m9") == 7
    assert len(tried) == 1


def test_whether_the_model_is_needed_takes_one_try(tried: list[Conditions]) -> None:
    assert many().needs_model(request("/"))
    assert len(tried) == 1


def test_header_only_routes_are_found_by_value(tried: list[Conditions]) -> None:
    table = table_of(*(RouteMatch(headers=[header("x-env", f"e{n}"), header("x-zone", f"z{n}")]) for n in range(1000)))
    assert found(table, "/", x_env="e7") == 7
    assert found(table, "/", x_zone="z9", x_env="other") == 9
    assert found(table, "/", x_env="other") is None
    assert len(tried) == 2


def test_a_route_found_twice_is_tried_once(tried: list[Conditions]) -> None:
    table = table_of(RouteMatch(headers=[header("a"), header("b")], hosts=[]))
    assert found(table, "/", a="1", b="1") == 0
    assert len(tried) == 1


def test_presence_and_regex_conditions_are_found_by_name() -> None:
    table = table_of(
        RouteMatch(prefix="/", headers=[header("a", "^x", regex=True)]), RouteMatch(prefix="/", headers=[header("a")])
    )
    assert found(table, "/", a="xy") == 0
    assert found(table, "/", a="yx") == 1
    assert found(table, "/", b="xy") is None


def test_a_route_is_filed_under_its_values_even_if_a_regex_comes_first(tried: list[Conditions]) -> None:
    matches = [RouteMatch(prefix="/", headers=[header("a", ".", regex=True), header("b", str(n))]) for n in range(1000)]
    assert found(table_of(*matches), "/", a="x", b="7") == 7
    assert len(tried) == 1


def test_every_line_of_a_repeated_header_is_looked_up() -> None:
    table = table_of(RouteMatch(prefix="/", headers=[header("a", "1")]), RouteMatch(prefix="/"))
    assert found(table, "/", fields=[("A", "2"), ("a", "1")]) == 0


def test_every_host_and_model_of_a_route_leads_to_it() -> None:
    table = table_of(RouteMatch(prefix="/", hosts=["a", "*.b"]), RouteMatch(prefix="/", models=["m", "n*", "-x"]))
    assert found(table, "/", host="A:80") == found(table, "/", host="x.y.B.") == 0
    assert found(table, "/", model="m") == found(table, "/", model="nn") == found(table, "/", model="-x") == 1


def test_the_first_of_overlapping_model_patterns_wins() -> None:
    table = table_of(RouteMatch(prefix="/", models=["gpt-*"]), RouteMatch(prefix="/", models=["gpt-4o", "*"]))
    assert found(table, "/", model="gpt-4o") == 0
    assert found(table, "/", model="o3") == 1
