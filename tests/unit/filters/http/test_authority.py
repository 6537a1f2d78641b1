"""Rules of allow and deny lists."""

from __future__ import annotations

import msgspec
import orjson
import pytest
from fakes.exchange import make_context, make_exchange

from pixiu_py.filters.http.authority import Authority, AuthorityConfig

ALLOW, DENY, IP, APP = 0, 1, 0, 1


def passes(rules, peer="10.0.0.1", target="/", forwarded=None, trusted=()):
    config = msgspec.convert({"authority_rules": rules, "trusted_proxies": list(trusted)}, AuthorityConfig)
    exchange = make_exchange(target=target, headers={"X-Forwarded-For": forwarded} if forwarded else {})
    exchange.request.client_address = peer
    reply = Authority(config, make_context()).decode(exchange)
    if reply is not None:
        assert orjson.loads(reply.body) == {"status": 403, "message": "Forbidden"}
    return reply is None


def rule(strategy, limit, *items):
    return {"strategy": strategy, "limit": limit, "items": list(items)}


@pytest.mark.parametrize(
    ("strategy", "items", "expected"),
    [
        (ALLOW, ["10.0.0.1"], True),
        (ALLOW, ["10.0.0.2"], False),
        (ALLOW, ["10.0.0.0/8"], True),
        (ALLOW, [], False),
        (DENY, ["10.0.0.1"], False),
        (DENY, ["10.0.0.0/30"], False),
        (DENY, ["10.0.0.2"], True),
        (DENY, [], True),
    ],
)
def test_addresses(strategy, items, expected):
    assert passes([rule(strategy, IP, *items)]) is expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [("/shop/items", True), ("/shop", True), ("//shop/x", True), ("/s%68op", True), ("/bank", False), ("/", False)],
)
def test_applications_are_the_first_path_segment(target, expected):
    assert passes([rule(ALLOW, APP, "shop")], target=target) is expected
    assert passes([rule(DENY, APP, "shop")], target=target) is not expected


def test_every_rule_must_let_the_request_pass():
    rules = [rule(ALLOW, IP, "10.0.0.1"), rule(DENY, APP, "bank")]
    assert passes(rules, target="/shop")
    assert not passes(rules, target="/bank")
    assert not passes(rules, target="/shop", peer="10.0.0.2")


def test_without_rules_everybody_passes():
    assert passes([])


def test_forwarded_for_cannot_be_forged():
    assert not passes([rule(ALLOW, IP, "10.0.0.1")], peer="6.6.6.6", forwarded="10.0.0.1")
    assert not passes([rule(DENY, IP, "6.6.6.6")], peer="6.6.6.6", forwarded="10.0.0.1")


def test_a_trusted_proxy_is_believed_about_the_last_hop_only():
    rules = [rule(ALLOW, IP, "10.0.0.1")]
    assert passes(rules, peer="192.0.2.1", forwarded="6.6.6.6, 10.0.0.1", trusted=["192.0.2.0/24"])
    assert not passes(rules, peer="192.0.2.1", forwarded="10.0.0.1, 6.6.6.6", trusted=["192.0.2.0/24"])


def test_a_client_without_address_is_on_no_list():
    assert not passes([rule(ALLOW, IP, "0.0.0.0/0")], peer="")
    assert passes([rule(DENY, IP, "0.0.0.0/0")], peer="")


@pytest.mark.parametrize(
    "config",
    [
        {"authority_rules": [rule(ALLOW, IP, "localhost")]},
        {"authority_rules": [rule(2, IP)]},
        {"authority_rules": [rule(ALLOW, 2)]},
        {"trusted_proxies": ["10.0.0.0/33"]},
    ],
)
def test_mistakes_are_found_at_start(config):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(config, AuthorityConfig)
