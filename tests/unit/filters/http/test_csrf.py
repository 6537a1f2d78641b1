"""Rules of CSRF tokens: what passes, and that the secret stays here."""

from __future__ import annotations

import base64
import gzip

import msgspec
import orjson
import pytest
from fakes.exchange import make_context, make_exchange
from structlog.testing import capture_logs

from pixiu_py.config.types import Secret
from pixiu_py.errors import BodyTooLarge, DownstreamError, UnsupportedEncoding
from pixiu_py.filters.http.csrf import Csrf, CsrfConfig, make_token

FORM = {"Content-Type": "Application/x-www-form-urlencoded ; charset=utf-8"}
TOKEN = make_token("pixiu", b"s3cret", b"salt").decode()


def csrf(**config):
    return Csrf(CsrfConfig(key="token", secret=Secret("s3cret"), **config), make_context())


def post(target="/", headers=None, body=b"", salt="salt"):
    return make_exchange("POST", target, {"csrfSalt": salt, **(headers or {})}, body)


def test_pixius_scheme():
    assert base64.urlsafe_b64decode(TOKEN) == b"salt-s3cret"


def test_the_safe_scheme_depends_on_both_and_shows_neither():
    token = make_token("hmac-sha256", b"s3cret", b"salt")
    assert b"s3cret" not in base64.urlsafe_b64decode(token)
    assert token != make_token("hmac-sha256", b"s3cret", b"other")
    assert token != make_token("hmac-sha256", b"other", b"salt")


@pytest.mark.parametrize(
    "exchange",
    [
        post(f"/?token={TOKEN}"),
        post(headers={"Token": TOKEN}),
        post(headers=FORM, body=f"a=b&token={TOKEN}".encode()),
    ],
    ids=["query", "header", "form"],
)
async def test_a_right_token_passes_wherever_it_is(exchange):
    assert await csrf().decode(exchange) is None


@pytest.mark.parametrize(
    "exchange",
    [
        post(),
        post("/?token=wrong"),
        post("/?token=%ff%fe"),
        post(f"/?token={TOKEN}", salt="other"),
        make_exchange("POST", f"/?token={TOKEN}"),
        post(body=f"token={TOKEN}".encode()),
        post(headers=FORM, body=b"\xff\xfe"),
        post(headers=FORM),
    ],
    ids=["none", "wrong", "no utf-8", "other salt", "no salt", "no form", "broken form", "empty form"],
)
async def test_anything_else_is_refused(exchange):
    reply = await csrf(error_msg="who are you").decode(exchange)
    assert reply.status == 403
    assert orjson.loads(reply.body)["error"] == "who are you"


async def test_an_empty_token_never_passes_for_an_empty_salt():
    assert (await csrf().decode(post("/?token=", salt=""))).status == 403


async def test_ignored_methods_need_no_token():
    assert await csrf(ignore_methods=["get"]).decode(make_exchange("GET")) is None
    assert (await csrf(ignore_methods=["GET"]).decode(make_exchange("POST"))).status == 403


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_secret_never_goes_upstream_and_cannot_be_forged(method):
    exchange = make_exchange(method, f"/?token={TOKEN}", {"csrfSalt": "salt", "CsrfSecret": "forged"})
    assert await csrf(ignore_methods=["GET"]).decode(exchange) is None
    assert "csrfsecret" not in exchange.request.headers
    assert not any("s3cret" in value for _, value in exchange.request.headers)


async def test_a_form_above_the_limit_is_refused():
    with pytest.raises(BodyTooLarge):
        await csrf(max_form_bytes=10).decode(post(headers=FORM, body=b"token=" + TOKEN.encode()))


async def test_a_form_is_read_only_if_the_token_is_nowhere_else():
    exchange = post(f"/?token={TOKEN}", headers=FORM, body=b"x" * 100)
    assert await csrf(max_form_bytes=10).decode(exchange) is None
    assert exchange.request.body.peek() is None


async def test_the_form_that_was_read_still_goes_upstream():
    body = f"token={TOKEN}".encode()
    exchange = post(headers=FORM, body=body)
    await csrf().decode(exchange)
    assert [chunk async for chunk in exchange.request.body.stream()] == [body]


async def test_a_compressed_form_is_a_form_and_goes_on_unpacked():
    body = f"token={TOKEN}".encode()
    exchange = post(headers={**FORM, "Content-Encoding": "gzip"}, body=gzip.compress(body))
    assert await csrf().decode(exchange) is None
    assert [chunk async for chunk in exchange.request.body.stream()] == [body]
    assert "content-encoding" not in exchange.request.headers


@pytest.mark.parametrize(
    ("encoding", "body", "error"),
    [
        ("snappy", b"token=x", UnsupportedEncoding),
        ("gzip", b"token=x", DownstreamError),
        ("gzip", gzip.compress(b"x" * 101), BodyTooLarge),
    ],
    ids=["unknown", "not packed", "too large when unpacked"],
)
async def test_a_form_that_cannot_be_unpacked_is_refused_for_what_it_is(encoding, body, error):
    """Not as a token that is wrong: nobody has seen one."""
    with pytest.raises(error) as raised:
        await csrf(max_form_bytes=100).decode(post(headers={**FORM, "Content-Encoding": encoding}, body=body))
    assert type(raised.value) is error


async def test_a_compressed_body_whose_token_is_in_a_header_stays_as_it_is():
    exchange = post(headers={"Token": TOKEN, **FORM, "Content-Encoding": "snappy"}, body=b"???")
    assert await csrf().decode(exchange) is None
    assert [chunk async for chunk in exchange.request.body.stream()] == [b"???"]
    assert exchange.request.headers.get("content-encoding") == "snappy"


@pytest.mark.parametrize("config", [{"key": "", "secret": Secret("a")}, {"key": "a", "secret": Secret("")}])
def test_key_and_secret_are_needed(config):
    with pytest.raises(ValueError, match="must not be empty"):
        CsrfConfig(**config)


def test_an_unknown_scheme_is_refused():
    with pytest.raises(msgspec.ValidationError, match="scheme"):
        msgspec.convert({"key": "a", "scheme": "md5"}, CsrfConfig, dec_hook=lambda _, value: Secret(value))


@pytest.mark.parametrize(("scheme", "warnings"), [("pixiu", 1), ("hmac-sha256", 0)])
async def test_the_scheme_that_gives_the_secret_away_is_pointed_out(scheme, warnings):
    with capture_logs() as logs:
        await csrf(scheme=scheme).start()
    assert len(logs) == warnings
    assert "s3cret" not in str(logs)
