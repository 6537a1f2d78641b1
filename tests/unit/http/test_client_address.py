"""Rules of finding the client's address: only proxies that are trusted are believed."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from pixiu_py.http.client_address import Networks, client_address, parse_address

TRUSTED = Networks(["192.0.2.0/24", "2001:db8::/32", "10.0.0.9"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("6.6.6.6", ["1.1.1.1"], "6.6.6.6"),
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["1.1.1.1"], "1.1.1.1"),
        ("192.0.2.1", ["9.9.9.9, 1.1.1.1"], "1.1.1.1"),
        ("192.0.2.1", ["9.9.9.9, 1.1.1.1, 192.0.2.7"], "1.1.1.1"),
        ("192.0.2.1", ["9.9.9.9", "1.1.1.1"], "1.1.1.1"),
        ("192.0.2.1", ["192.0.2.3, 192.0.2.2"], "192.0.2.3"),
        ("192.0.2.1", ["1.1.1.1, unknown"], "192.0.2.1"),
        ("192.0.2.1", ["1.1.1.1, , 192.0.2.2"], "192.0.2.2"),
        ("10.0.0.9", ["1.1.1.1:5123"], "1.1.1.1"),
        ("2001:db8::1", ["[2001:db9::1]:443"], "2001:db9::1"),
        ("::ffff:192.0.2.1", ["1.1.1.1"], "1.1.1.1"),
    ],
)
def test_the_rightmost_hop_that_is_not_trusted(peer, forwarded, expected):
    assert client_address(peer, forwarded, TRUSTED) == ip_address(expected)


def test_nobody_is_trusted_by_default():
    assert client_address("6.6.6.6", ["1.1.1.1"], Networks([])) == ip_address("6.6.6.6")


def test_a_unix_socket_has_no_address():
    assert client_address("", ["1.1.1.1"], TRUSTED) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" 1.1.1.1 ", "1.1.1.1"),
        ("1.1.1.1:80", "1.1.1.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("[::1]:80", "::1"),
        ("::ffff:1.1.1.1", "1.1.1.1"),
    ],
)
def test_ways_to_write_an_address(text, expected):
    assert parse_address(text) == ip_address(expected)


@pytest.mark.parametrize("text", ["", "unknown", "_hidden", "1.1.1", "a.example.com:80", "[]"])
def test_what_is_no_address(text):
    assert parse_address(text) is None


def test_an_address_is_in_the_networks_that_hold_it():
    networks = Networks(["10.0.0.1/8", " 1.1.1.1 "])
    assert ip_address("10.255.0.1") in networks
    assert ip_address("1.1.1.1") in networks
    assert ip_address("1.1.1.2") not in networks
    assert ip_address("::1") not in networks
    assert None not in networks
    assert Networks(["1.1.1.1"])
    assert Networks(["10.0.0.0/8"])
    assert not Networks([])
    with pytest.raises(ValueError, match="not appear"):
        Networks(["somewhere"])
