"""The answer after total failure: the most informative one, without our secrets, and with advice on when to come back."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.config.types import Secret
from pixiu_py.errors import ConnectFailed, UpstreamReset, UpstreamTimeout
from pixiu_py.filters.llm.proxy.failure import FailedResponse, failed_response, failed_stream, last_answer, read_failure
from pixiu_py.http.headers import Headers

ERROR = ConnectFailed("cannot connect: connection refused")


def failed(status: int = 500, *fields: tuple[bytes, bytes]) -> FailedResponse:
    return FailedResponse(
        status, "Oh", Headers([(b"Content-Type", b"text/x"), (b"Content-Length", b"99"), *fields]), b"body"
    )


def test_last_answer_of_an_endpoint_is_passed_on() -> None:
    """Status, reason, fields and body are its own; the length is stated anew."""
    reply = last_answer(failed(), ERROR, 0, 1)
    assert (reply.status, reply.reason, reply.body) == (500, "Oh", b"body")
    assert reply.headers.raw == [(b"Content-Type", b"text/x")]


@pytest.mark.parametrize(("error", "status"), [(ERROR, 502), (UpstreamTimeout("first_byte"), 504)])
def test_without_an_answer_there_is_the_error(error: ConnectFailed | UpstreamTimeout, status: int) -> None:
    """In the gateway's own shape."""
    reply = last_answer(None, error, 0, 1)
    assert isinstance(reply.body, bytes)
    assert (reply.status, orjson.loads(reply.body)["error"]) == (status, error.detail)


@pytest.mark.parametrize(
    ("status", "wait", "own", "told"),
    [
        (429, 2.1, None, "3"),
        (503, 0.2, None, "1"),
        (503, 0.0, None, None),
        (500, 5.0, None, None),
        (429, 5.0, b"60", "60"),
    ],
)
def test_client_is_told_when_to_come_back(status: int, wait: float, own: bytes | None, told: str | None) -> None:
    """The endpoint's own word first; else when the first of them may be asked again, in whole seconds."""
    fields = [(b"Retry-After", own)] if own is not None else []
    assert last_answer(failed(status, *fields), ERROR, wait, 1).headers.get("retry-after") == told


@pytest.mark.parametrize(
    ("attempts", "fields", "told"),
    [
        (1, [], None),
        (2, [], "false"),
        (2, [(b"Retry-After", b"1")], None),
        (2, [(b"X-Should-Retry", b"true")], "true"),
    ],
)
def test_sdk_does_not_repeat_what_was_repeated(
    attempts: int, fields: list[tuple[bytes, bytes]], told: str | None
) -> None:
    """After several attempts; unless it has been told when to come back, or the endpoint has said so itself."""
    assert last_answer(failed(500, *fields), ERROR, 0, attempts).headers.get("x-should-retry") == told


def test_endpoints_fields_are_not_changed() -> None:
    """Each answer is made anew."""
    kept = failed(503)
    last_answer(kept, ERROR, 5, 3)
    assert len(kept.headers) == 2


@pytest.mark.parametrize(("key", "body"), [("sk-1", b"bad key *** for ***"), ("", b"bad key sk-1 for sk-1")])
def test_our_key_is_made_unreadable(key: str, body: bytes) -> None:
    """Some endpoints repeat it in their errors."""
    endpoint = Endpoint("main", "a", "h", 1)
    endpoint.api_key = Secret(key)
    fields = [(b"WWW-Authenticate", b"no sk-1"), (b"X-A", b"1")]
    kept = failed_response(401, "", Headers(fields), b"bad key sk-1 for sk-1", endpoint)
    assert kept.body == body
    assert kept.headers.get("www-authenticate") == ("no ***" if key else "no sk-1")
    assert kept.headers.get("x-a") == "1"


@pytest.mark.parametrize(("key", "left"), [("sk-very-secret", b"key *** is bad"), ("none", b"key none is bad")])
def test_a_key_is_hidden_and_a_word_is_not(key: str, left: bytes) -> None:
    """What local engines take for a key is no secret, and may be any word of an answer."""
    endpoint = Endpoint("c", "a", "127.0.0.1", 1)
    endpoint.api_key = Secret(key)
    kept = failed_response(401, "", Headers(), b"key %b is bad" % key.encode(), endpoint)
    assert kept.body == left


class Answer:
    """An endpoint's failed answer, whose body comes to this."""

    status, reason = 503, "Oh"

    def __init__(self, outcome: bytes | BaseException) -> None:
        self.headers = Headers([(b"X-A", b"1")])
        self.aborted = False
        self._outcome = outcome

    async def ready(self, timeout: float) -> bool:
        return not isinstance(self._outcome, TimeoutError)

    async def read(self) -> bytes:
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        piece, self._outcome = self._outcome[:8], self._outcome[8:]
        return piece

    def unread(self, data: bytes) -> None:
        """Nobody asks for it again."""

    def abort(self) -> None:
        self.aborted = True


async def kept(answer: Any) -> FailedResponse:
    """Read within ten bytes."""
    return await read_failure(answer, 10, 5.0, Endpoint("c", "a", "h", 1))


async def test_failed_answer_is_kept_whole() -> None:
    """Its fields and its body, as they are."""
    answer = Answer(b"ten bytes!")
    found = await kept(answer)
    assert (found.status, found.reason, found.body, found.headers.get("x-a")) == (503, "Oh", b"ten bytes!", "1")
    assert not answer.aborted


@pytest.mark.parametrize("outcome", [b"too long a body", TimeoutError(), UpstreamReset("gone")])
async def test_status_is_told_when_the_body_cannot_be_kept(outcome: bytes | BaseException) -> None:
    """In the gateway's own shape: a part is not told as the whole, and the endpoint's fields were about another body.

    What there is left of it is not read.
    """
    answer = Answer(outcome)
    found = await kept(answer)
    assert (found.status, found.reason) == (503, "Oh")
    assert orjson.loads(found.body)["status"] == 503
    assert list(found.headers) == [("Content-Type", "application/json")]
    assert answer.aborted


async def test_client_that_leaves_meanwhile_ends_the_reading() -> None:
    """A cancellation is no failure of the endpoint's."""
    with pytest.raises(asyncio.CancelledError):
        await kept(Answer(asyncio.CancelledError()))


def test_stream_that_began_with_an_error_is_told_as_one() -> None:
    """In the shape that SDKs know; without a key of ours that the endpoint repeats."""
    endpoint = Endpoint("c", "a", "h", 1)
    endpoint.api_key = Secret("sk-1")
    found = failed_stream(429, "too much for sk-1", endpoint)
    assert orjson.loads(found.body)["error"] == {
        "message": "too much for ***",
        "type": "upstream_error",
        "param": None,
        "code": 429,
    }
    assert (found.status, found.headers.get("content-type")) == (429, "application/json")
