"""What consistent hashing hashes."""

from __future__ import annotations

from typing import Any

import pytest

from pixiu_py.clusters.balancers.hashing import hash64, request_key
from pixiu_py.config.model import HashKey
from tests.fakes.clusters import make_balancer, make_endpoints
from tests.fakes.exchange import make_exchange

EVERY_SOURCE = HashKey(header="x-session", cookie="sid", body_field="user", source_address=True)


async def key_of(
    settings: HashKey, headers: dict[str, str] | None = None, json: Any = None, address: str = ""
) -> bytes:
    exchange = make_exchange("POST", "/v1/chat?x=1", headers or {}, json=json)
    exchange.request.client_address = address
    if json is not None:
        await exchange.request.json()
    return request_key(exchange.request, settings)


async def test_sources_are_asked_in_order_and_the_first_value_counts() -> None:
    headers = {"X-Session": "h", "Cookie": "a=b; sid=c"}
    json = {"user": "u"}
    assert await key_of(EVERY_SOURCE, headers, json, "192.0.2.1") == b"h"
    assert await key_of(EVERY_SOURCE, {"Cookie": "a=b; sid=c"}, json, "192.0.2.1") == b"c"
    assert await key_of(EVERY_SOURCE, {}, json, "192.0.2.1") == b"u"
    assert await key_of(EVERY_SOURCE, {}, {"model": "m"}, "192.0.2.1") == b"192.0.2.1"
    assert await key_of(EVERY_SOURCE) == b"POST./v1/chat?x=1"


async def test_without_configuration_the_key_is_pixius_method_and_target() -> None:
    assert await key_of(HashKey(), {"X-Session": "h"}, {"user": "u"}, "192.0.2.1") == b"POST./v1/chat?x=1"


async def test_an_empty_value_is_no_value() -> None:
    assert await key_of(EVERY_SOURCE, {"X-Session": "", "Cookie": "sid="}, {"user": ""}, "192.0.2.1") == b"192.0.2.1"


@pytest.mark.parametrize(
    ("value", "key"), [(7, b"7"), ({"b": 1, "a": [True]}, b'{"a":[true],"b":1}'), (None, b"POST./v1/chat?x=1")]
)
async def test_body_fields_of_any_type_have_one_spelling(value: Any, key: bytes) -> None:
    assert await key_of(HashKey(body_field="user"), json={"user": value}) == key


async def test_a_body_that_is_no_object_or_was_not_read_has_no_field() -> None:
    assert await key_of(HashKey(body_field="user"), json=["user"]) == b"POST./v1/chat?x=1"
    exchange = make_exchange("POST", "/", json={"user": "u"})
    assert request_key(exchange.request, HashKey(body_field="user")) == b"POST./"


async def test_bytes_that_are_no_utf8_survive() -> None:
    exchange = make_exchange()
    exchange.request.headers.add("x-session", b"\xff\xfe".decode("utf-8", "surrogateescape"))
    assert request_key(exchange.request, HashKey(header="x-session")) == b"\xff\xfe"


def test_hashes_are_the_same_in_every_process() -> None:
    """These numbers are BLAKE2b's; a hash of Python's own would differ at each start."""
    assert hash64(b"") == 0xE4A6A0577479B2B4
    assert hash64(b"session-1") == hash64(b"session-1") != hash64(b"session-12")


@pytest.mark.parametrize("kind", ["RingHashing", "MaglevHashing"])
def test_tables_are_built_once_for_many_changes_and_not_at_all_for_one_endpoint(kind: str) -> None:
    chooser: Any = make_balancer(kind, 1)
    built: list[int] = []
    build = chooser.build

    def counted(endpoints: Any) -> None:
        built.append(len(endpoints))
        build(endpoints)

    chooser.build = counted
    for count in (1, 2, 3, 4):
        chooser.update(make_endpoints(count))
    chooser.pick(make_exchange())
    chooser.pick(make_exchange())
    chooser.update(make_endpoints(1))
    chooser.pick(make_exchange())
    assert built == [4]
