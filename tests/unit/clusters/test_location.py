"""Where an endpoint is: Pixiu's host rule, the provider's address, schemes and ports."""

from __future__ import annotations

from typing import Any

import pytest

from pixiu_py.clusters.location import Location, locate, split_domain
from pixiu_py.config.model import Endpoint, LlmMeta, SocketAddress


def located(provider: str = "", socket: dict[str, Any] | None = None, **endpoint: Any) -> Location:
    meta = LlmMeta(provider=provider) if provider else None
    address = SocketAddress(**socket) if socket is not None else None
    return locate(Endpoint(llm_meta=meta, socket_address=address, **endpoint))


def test_address_and_port() -> None:
    assert located(socket={"address": "10.0.0.1", "port": 8000}) == Location("", "10.0.0.1", 8000, "10.0.0.1:8000", "")


def test_the_first_domain_counts_and_not_the_address() -> None:
    place = located(socket={"address": "10.0.0.1", "port": 8000, "domains": ["a.example:9000", "b.example"]})
    assert (place.host, place.port, place.host_header) == ("a.example", 9000, "a.example:9000")


@pytest.mark.parametrize(("scheme", "port"), [("https", 443), ("http", 80), ("", 0)])
def test_a_domain_without_a_port_gets_the_schemes_or_leaves_it_open(scheme: str, port: int) -> None:
    place = located(socket={"domains": ["api.example"]}, scheme=scheme)
    assert (place.port, place.host_header) == (port, "api.example")


def test_a_provider_alone_is_a_complete_endpoint() -> None:
    expected = Location("https", "dashscope.aliyuncs.com", 443, "dashscope.aliyuncs.com", "/compatible-mode")
    assert located("dashscope") == expected


def test_an_address_left_at_its_defaults_is_none_so_the_providers_counts() -> None:
    assert located("openai", socket={}).host == "api.openai.com"


def test_an_address_of_ones_own_makes_the_provider_a_label() -> None:
    place = located("dashscope", socket={"address": "127.0.0.1", "port": 9})
    assert place == Location("", "127.0.0.1", 9, "127.0.0.1:9", "")


def test_the_providers_host_as_domain_is_https_but_gets_no_prefix() -> None:
    """Clients of such a Pixiu configuration send the whole path themselves."""
    place = located("dashscope", socket={"domains": ["DashScope.aliyuncs.com"]})
    assert (place.scheme, place.port, place.path_prefix) == ("https", 443, "")


def test_the_endpoints_own_keys_win() -> None:
    place = located("groq", scheme="http", path_prefix="proxy/", host="virtual.example")
    assert place == Location("http", "api.groq.com", 443, "virtual.example", "/proxy")


def test_the_host_header_leaves_out_the_schemes_own_port() -> None:
    assert located(socket={"address": "a.example", "port": 443}, scheme="https").host_header == "a.example"
    assert located(socket={"address": "a.example", "port": 80}, scheme="https").host_header == "a.example:80"


def test_an_ipv6_address_is_bracketed_in_the_host_header_only() -> None:
    place = located(socket={"address": "[::1]", "port": 8000})
    assert (place.host, place.host_header) == ("::1", "[::1]:8000")


@pytest.mark.parametrize(
    ("domain", "split"),
    [("a.example", ("a.example", 0)), (" a.example:81 ", ("a.example", 81)), ("[::1]:81", ("::1", 81))],
)
def test_domains_split_into_host_and_port(domain: str, split: tuple[str, int]) -> None:
    assert split_domain(domain) == split


@pytest.mark.parametrize(
    "domain",
    ["https://a.example", "a.example/v1", "", "a.example:", "a.example:0", "a.example:70000", "user@a.example", "a b"],
)
def test_a_domain_that_is_no_host_is_refused(domain: str) -> None:
    """In Pixiu such a value silently breaks the URL."""
    with pytest.raises(ValueError, match="domains"):
        split_domain(domain)


@pytest.mark.parametrize("address", ["http://10.0.0.1", "10.0.0.1:8000", "a.example/v1", "a b", "[::1]:81", "user@a"])
def test_an_address_that_is_no_host_is_refused(address: str) -> None:
    """It would be looked up as a name with every request, and never found."""
    with pytest.raises(ValueError, match="without scheme and port"):
        located(socket={"address": address, "port": 8000})


@pytest.mark.parametrize(
    "address", ["fe80::1%eth0", "[::ffff:10.0.0.1]", "::", "under_score.svc", "Example.COM", " a "]
)
def test_every_way_to_write_a_host_is_taken(address: str) -> None:
    assert located(socket={"address": address, "port": 8000}).host == address.strip(" []")


def test_no_address_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="no address"):
        located("vllm")
    with pytest.raises(ValueError, match="port that is not 0"):
        located(socket={"address": "10.0.0.1", "port": 0})


@pytest.mark.parametrize(
    "endpoint", [{"host": "a\r\nX-Evil: 1"}, {"path_prefix": "/a b"}, {"path_prefix": "/a\n"}, {"path_prefix": "/a?b"}]
)
def test_what_would_break_out_of_the_request_head_is_refused(endpoint: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"host|path_prefix"):
        located("openai", **endpoint)
