"""Rules of the gateway's own answers."""

from __future__ import annotations

import orjson
import pytest

from pixiu_py.errors import BodyTooLarge, GatewayError, NoEndpoint, NoRoute, UnsupportedEncoding, UpstreamTimeout
from pixiu_py.http.headers import Headers
from pixiu_py.http.local_reply import error_reply, local_reply, message_for, retry_after


def test_shape_is_pixius():
    reply = local_reply(401, "token expired")
    assert reply.status == 401
    assert reply.headers.get("content-type") == "application/json"
    assert orjson.loads(reply.body) == {"status": 401, "message": "Unauthorized", "error": "token expired"}


def test_error_is_left_out_when_there_is_no_detail():
    assert orjson.loads(local_reply(502).body) == {"status": 502, "message": "Bad gateway"}


@pytest.mark.parametrize(
    ("status", "message"),
    [(403, "Forbidden"), (429, "Rate limited"), (503, "Service unavailable"), (504, "Gateway timeout")],
)
def test_fixed_texts(status, message):
    assert message_for(status) == message


def test_status_without_fixed_text_uses_the_reason_phrase():
    assert message_for(418) == "I'm a Teapot"
    assert message_for(799) == "Error"


def test_extra_headers_go_out_and_the_callers_object_stays_as_it_was():
    extra = Headers.of({"X-Why": "because", "content-type": "text/plain"})
    reply = local_reply(400, headers=extra)
    assert reply.headers.get("x-why") == "because"
    assert reply.headers.getall("content-type") == ["application/json"]
    assert extra.get("content-type") == "text/plain"


@pytest.mark.parametrize(
    ("error", "status"),
    [(NoRoute(), 404), (BodyTooLarge("too long"), 413), (UpstreamTimeout("connect"), 504), (GatewayError(), 500)],
)
def test_error_reply_takes_the_errors_status(error, status):
    reply = error_reply(error)
    assert reply.status == orjson.loads(reply.body)["status"] == status
    assert "retry-after" not in reply.headers


def test_error_with_retry_after_tells_the_client():
    error = NoEndpoint("all endpoints are cooling down")
    error.retry_after = 2.1  # type: ignore[attr-defined]
    assert error_reply(error).headers.get("retry-after") == "3"


def test_unknown_encoding_tells_which_are_known():
    """RFC 9110 §15.5.16."""
    reply = error_reply(UnsupportedEncoding())
    assert (reply.status, reply.headers.get("accept-encoding")) == (415, "gzip, deflate")


@pytest.mark.parametrize(("seconds", "value"), [(0.0, "1"), (0.2, "1"), (3.0, "3"), (3.01, "4")])
def test_retry_after_is_whole_seconds_and_never_early(seconds, value):
    assert retry_after(seconds) == value
