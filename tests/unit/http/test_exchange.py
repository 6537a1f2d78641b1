"""Rules of what travels: a request keeps what the client wrote, and each exchange is its own."""

from __future__ import annotations

import gzip

import orjson
import pytest
from fakes.exchange import make_exchange

from pixiu_py.errors import BodyTooLarge, DownstreamError, UnsupportedEncoding
from pixiu_py.http.exchange import Attempt, Response


def test_target_is_split_but_not_decoded():
    request = make_exchange(target="/a%20b/c?x=%20&y=/?z").request
    assert (request.path, request.query) == ("/a%20b/c", "x=%20&y=/?z")
    assert request.target == "/a%20b/c?x=%20&y=/?z"
    assert request.decoded_path == "/a b/c"


def test_target_without_query():
    request = make_exchange(target="/a").request
    assert (request.path, request.query, request.decoded_path) == ("/a", "", "/a")


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("session=1", "1"),
        ("a=b; session=1; c=d", "1"),
        ("session=a=b", "a=b"),
        ("session=", ""),
        ("mysession=1", None),
        ("", None),
    ],
)
def test_one_cookie_of_a_line(line, value):
    assert make_exchange(headers={"Cookie": line}).request.cookie("session") == value


async def test_json_is_parsed_once():
    request = make_exchange(json={"model": "m"}).request
    first = await request.json()
    assert first == {"model": "m"}
    assert await request.json() is first


async def test_json_null_is_parsed_once_too():
    request = make_exchange(body=b"null").request
    assert await request.json() is None
    assert request._json is None


async def test_a_body_that_is_no_json_is_the_clients_fault():
    with pytest.raises(DownstreamError, match="not valid JSON") as caught:
        await make_exchange(body=b"{").request.json()
    assert caught.value.status == 400


async def test_json_of_a_body_above_the_limit_is_refused():
    with pytest.raises(BodyTooLarge):
        await make_exchange(body=b'"0123456789"').request.json(limit=11)


def test_json_response():
    response = Response.json(201, {"a": 1})
    assert (response.status, orjson.loads(response.body)) == (201, {"a": 1})
    assert response.headers.get("content-type") == "application/json"


def test_responses_do_not_share_headers():
    one, other = Response(200), Response(200)
    one.headers.add("a", "b")
    assert "a" not in other.headers


def test_exchanges_do_not_share_state():
    one, other = make_exchange(), make_exchange()
    one.params["key"] = one.path_values["id"] = "1"
    one.attempts.append(Attempt("e", "a:1", "c"))
    assert (other.params, other.path_values, other.attempts) == ({}, {}, [])


def test_an_attempt_is_a_success_without_error():
    assert Attempt("e", "a:1", "c", status=200).success
    assert not Attempt("e", "a:1", "c", status=500, error="status_500").success


async def test_content_has_no_encoding_any_more():
    """The field, the length and the body go on as one; what the client has sent is still known."""
    packed = gzip.compress(b'{"model": "m"}')
    request = make_exchange(body=packed, headers={"Content-Encoding": "GZip"}).request
    assert await request.content(1000) == b'{"model": "m"}'
    assert await request.json() == {"model": "m"}
    assert "content-encoding" not in request.headers
    assert (request.body.length, request.body.peek(), request.body.received) == (14, b'{"model": "m"}', len(packed))


@pytest.mark.parametrize("values", [["gzip", "gzip"], ["gzip, gzip"], ["gzip", "snappy"]])
async def test_several_encodings_are_none_that_is_known(values):
    """Also in several fields: to undo the first of them alone would make another body."""
    request = make_exchange(body=gzip.compress(b"{}")).request
    for value in values:
        request.headers.add("Content-Encoding", value)
    with pytest.raises(UnsupportedEncoding):
        await request.content(1000)
    assert request.body.peek() == gzip.compress(b"{}")


async def test_content_is_limited_when_unpacked():
    request = make_exchange(body=gzip.compress(b" " * 1001), headers={"Content-Encoding": "gzip"}).request
    with pytest.raises(BodyTooLarge):
        await request.content(1000)
    assert len(await request.content(1001)) == 1001
    with pytest.raises(BodyTooLarge):
        await request.content(1000)
