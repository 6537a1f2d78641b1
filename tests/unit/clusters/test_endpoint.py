"""The run-time endpoint: what it shows, what it serves, which port it takes."""

from __future__ import annotations

import pytest

from pixiu_py.clusters.endpoint import Endpoint


@pytest.mark.parametrize(
    ("host", "port", "shown"),
    [("a.example", 80, "a.example:80"), ("::1", 80, "[::1]:80"), ("a.example", 0, "a.example")],
)
def test_address_is_host_and_port_as_people_write_it(host: str, port: int, shown: str) -> None:
    assert Endpoint("main", "a", host, port).address == shown


@pytest.mark.parametrize(("port", "scheme", "used"), [(8000, "https", 8000), (0, "https", 443), (0, "http", 80)])
def test_an_open_port_is_the_default_of_the_scheme_that_is_spoken(port: int, scheme: str, used: int) -> None:
    assert Endpoint("main", "a", "a.example", port).port_for(scheme) == used


def test_an_endpoint_without_models_serves_any_and_one_with_models_those_only() -> None:
    endpoint = Endpoint("main", "a", "a.example", 80)
    assert endpoint.serves("any")
    endpoint.models = {"gpt": "gpt-4"}
    assert [endpoint.serves(model) for model in ("gpt", "gpt-4", "")] == [True, False, True]


def test_repr_names_it_and_keeps_the_key_to_itself() -> None:
    endpoint = Endpoint("main", "a", "a.example", 80)
    assert repr(endpoint) == "<Endpoint main/a a.example:80 healthy in_flight=0>"
