"""What goes on in a request's head: the client's fields untouched, one credential, nothing about the client's connection."""

from __future__ import annotations

import pytest

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.config.types import Secret
from pixiu_py.http.received import Shape
from pixiu_py.upstream.head import Forwarded, endpoint_credentials, request_head

MINE = b"Authorization: Bearer mine\r\n"


def make_endpoint(**changes: object) -> Endpoint:
    endpoint = Endpoint("main", "a", "10.0.0.1", 80)
    endpoint.host_header = "a.test"
    for name, value in changes.items():
        setattr(endpoint, name, value)
    return endpoint


def block(*fields: tuple[bytes, bytes]) -> bytes:
    return Forwarded.of(fields).block


def test_fields_keep_order_case_repetition_and_bytes() -> None:
    """They are the client's business."""
    fields = [(b"X-b", b"1"), (b"x-A", b""), (b"X-B", b"caf\xe9"), (b"User-Agent", b"u")]
    assert block(*fields) == b"X-b: 1\r\nx-A: \r\nX-B: caf\xe9\r\nUser-Agent: u\r\n"


@pytest.mark.parametrize(
    "name",
    b"Connection Keep-Alive TE Trailer Transfer-Encoding Upgrade Proxy-Authorization Proxy-Authenticate proxy-connection "
    b"HOST content-length Expect".split(),
)
def test_fields_of_this_hop_stay_here(name: bytes) -> None:
    """In any case; some of them are written anew."""
    assert block((name, b"1"), (b"X-End", b"1")) == b"X-End: 1\r\n"


def test_credentials_are_kept_apart() -> None:
    """Each endpoint decides about them."""
    forwarded = Forwarded.of(
        [(b"authorization", b"Bearer mine"), (b"X-A", b"1"), (b"X-Api-Key", b"k"), (b"api-key", b"z")]
    )
    assert forwarded.block == b"X-A: 1\r\n"
    assert forwarded.credentials == b"authorization: Bearer mine\r\nX-Api-Key: k\r\napi-key: z\r\n"


def test_no_fields_are_no_bytes() -> None:
    """Not even a line end: it would end the head."""
    forwarded = Forwarded.of([])
    assert (forwarded.block, forwarded.credentials) == (b"", b"")


@pytest.mark.parametrize(
    ("changes", "sent"),
    [
        ({}, MINE),
        ({"client_auth": "drop"}, b""),
        ({"api_key": Secret("k")}, b"Authorization: Bearer k\r\n"),
        ({"api_key": Secret("k"), "auth_header": "x-api-key"}, b"x-api-key: k\r\n"),
        ({"api_key": Secret(""), "client_auth": "drop"}, b""),
        ({"api_key": Secret("")}, MINE),
    ],
)
def test_endpoint_gets_its_own_key_or_what_it_may_have(changes: dict[str, object], sent: bytes) -> None:
    """Its key, else the client's credential unless that is to be dropped; never both."""
    assert endpoint_credentials(make_endpoint(**changes), MINE) == sent


def test_client_cannot_add_to_a_header_that_carries_the_key() -> None:
    """A provider's own key header, sent by the client, would stand beside the endpoint's key."""
    endpoint = make_endpoint(api_key=Secret("k"), auth_header="x-own-key")
    head = request_head("GET", endpoint, "/", b"X-Own-Key: mine\r\nX-A: 1\r\n", b"x-own-key: k\r\n")
    assert head.lower().count(b"x-own-key") == 1
    assert b"mine" not in head
    assert head.endswith(b"\r\nX-A: 1\r\nx-own-key: k\r\n\r\n")


@pytest.mark.parametrize(
    ("prefix", "target", "sent"),
    [
        ("", "/a%2Fb?q=%20", b"/a%2Fb?q=%20"),
        ("/v2", "/a?b", b"/v2/a?b"),
        ("", "/caf\udce9", b"/caf\xe9"),
        ("", "/é", b"/\xc3\xa9"),
    ],
)
def test_target_is_sent_as_it_was_written(prefix: str, target: str, sent: bytes) -> None:
    """Behind the endpoint's prefix, byte for byte."""
    head = request_head("GET", make_endpoint(path_prefix=prefix), target, b"", b"")
    assert head.split(b"\r\n")[0] == b"GET %b HTTP/1.1" % sent


def test_whole_head() -> None:
    """Request line, Host, the client's fields, the credential, the framing, and one empty line."""
    head = request_head("POST", make_endpoint(), "/x", b"X-A: 1\r\n", MINE, b"Content-Length: 2\r\n")
    assert head == b"POST /x HTTP/1.1\r\nHost: a.test\r\nX-A: 1\r\n" + MINE + b"Content-Length: 2\r\n\r\n"
    assert b"\r\nHost: other\r\n" in request_head("GET", make_endpoint(), "/", b"", b"", host="other")


def test_heads_of_one_shape_are_made_of_one_pattern() -> None:
    """The values go in where they belong; a percent sign of the client's is none of the pattern's."""
    raw = ((b"X-%b", b"100%"), (b"X-Id", b"1"), (b"Authorization", b"%s"), (b"Content-Length", b"2"))
    shape = Shape(raw, (1,))
    for value in (b"1", b"%b", b"22%"):
        assert Forwarded.of_shape(shape, (value,)) == Forwarded.of([raw[0], (b"X-Id", value), *raw[2:]])
