"""Rules of the host filter."""

from __future__ import annotations

import pytest
from fakes.exchange import make_context, make_exchange

from pixiu_py.filters.http.host import Host, HostConfig
from pixiu_py.filters.proxy import UPSTREAM_HOST


def test_the_proxy_is_told_and_the_clients_host_is_kept():
    exchange = make_exchange(headers={"Host": "client.example.com"})
    assert Host(HostConfig(host="internal:8080"), make_context()).decode(exchange) is None
    assert exchange.params == {UPSTREAM_HOST: "internal:8080"}
    assert exchange.request.headers.get("host") == "client.example.com"


@pytest.mark.parametrize("host", ["a", "a.example.com", "a:1", "10.0.0.1:80", "[::1]", "[::1]:80"])
def test_good_hosts(host):
    assert HostConfig(host=host).host == host


@pytest.mark.parametrize("host", ["", "a b", "a\r\nX: y", "http://a", "a/b", "u@a", "::1", "a:port", "[a]"])
def test_what_is_no_host_is_refused(host):
    with pytest.raises(ValueError, match="host"):
        HostConfig(host=host)
