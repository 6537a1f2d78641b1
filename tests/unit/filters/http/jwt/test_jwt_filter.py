"""Rules of the JWT filter: which paths need which tokens, what a refusal says, and what the endpoint sees."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest

from pixiu_py.config.types import Secret
from pixiu_py.filters.http.jwt.filter import Jwt, resolved, segments
from pixiu_py.filters.http.jwt.model import FromHeaders, HttpUri, JwtConfig, LocalJwks, Provider, RemoteJwks, Rule
from pixiu_py.http.exchange import Exchange, Response
from tests.fakes.exchange import make_context, make_exchange
from tests.fakes.tokens import ec_signer, key_set

ONE, TWO = ec_signer("one"), ec_signer("two")
PROVIDERS = [
    Provider(name="one", issuer="https://issuer.test", local_jwks=LocalJwks(inline_string=Secret(key_set(ONE)))),
    Provider(
        name="two",
        from_headers=FromHeaders(name="x-two", value_prefix=""),
        forward_payload_header="x-claims",
        local_jwks=LocalJwks(inline_string=Secret(key_set(TWO))),
    ),
    Provider(name="away", remote_jwks=RemoteJwks(http_uri=HttpUri(uri="http://127.0.0.1:1/"))),
]
AUTH_ONE = {"Authorization": "Bearer " + ONE.token()}
AUTH_TWO = {"X-Two": TWO.token()}
#: Prefix → what it requires.
RULES: dict[str, dict[str, Any]] = {
    "/": {"requires_any": {"provider_name": "one"}},
    "/health": {},
    "/admin": {"requires_all": [{"provider_name": "one"}, {"provider_name": "two"}]},
    "/either": {"requires_any": [{"provider_name": "one"}, {"provider_name": "two"}]},
    "/both": {"requires_all": [{"provider_name": "two"}], "requires_any": {"provider_name": "one"}},
    "/away": {"requires_any": [{"provider_name": "away"}, {"provider_name": "one"}]},
}


def rule(prefix: str) -> Rule:
    """One of the rules."""
    requires = {"requires": RULES[prefix]} if RULES[prefix] else {}
    return msgspec.convert({"match": {"prefix": prefix}, **requires}, Rule)


def ask(target: str, headers: dict[str, str] | None = None, *prefixes: str) -> tuple[Response | None, Exchange]:
    """What the filter with these rules, or all, makes of a request."""
    rules = [rule(prefix) for prefix in prefixes or RULES]
    filter_ = Jwt(JwtConfig(rules=rules, providers=PROVIDERS), make_context())
    exchange = make_exchange("GET", target, headers)
    return filter_.decode(exchange), exchange


def status(target: str, *headers: dict[str, str]) -> int:
    """The status for a request with these headers together; 200: it may go on."""
    response, _ = ask(target, {name: value for part in headers for name, value in part.items()})
    return response.status if response is not None else 200


@pytest.mark.parametrize(
    ("target", "none", "one", "two", "both"),
    [
        ("/", 401, 200, 401, 200),
        ("/x/y?z", 401, 200, 401, 200),
        ("/health", 200, 200, 200, 200),
        ("/health/live", 200, 200, 200, 200),
        ("/healthy", 401, 200, 401, 200),
        ("/admin/users", 401, 401, 401, 200),
        ("/administrator", 401, 200, 401, 200),
        ("/either", 401, 200, 200, 200),
        ("/both", 401, 401, 401, 200),
    ],
)
def test_who_may_do_what(target: str, none: int, one: int, two: int, both: int) -> None:
    """By whole segments, the longest prefix; ``requires_all`` means all."""
    found = [status(target), status(target, AUTH_ONE), status(target, AUTH_TWO), status(target, AUTH_ONE, AUTH_TWO)]
    assert found == [none, one, two, both]


@pytest.mark.parametrize(
    "target",
    [
        "/health/../admin",
        "/health/%2e%2e/admin",
        "/health/..%2fadmin",
        "/health/..;x=1/admin",
        "//admin",
        "/./admin;x",
        "/%61dmin",
        "/health\\..\\admin",
        "/admin/../health",
    ],
)
def test_no_way_of_writing_a_path_gets_around_a_rule(target: str) -> None:
    """What endpoints may make of it needs its tokens, and so does what is written."""
    assert status(target, AUTH_ONE) == 401
    assert status(target, AUTH_ONE, AUTH_TWO) == 200


def test_a_path_of_no_rule_needs_no_token() -> None:
    response, exchange = ask("/other", AUTH_ONE, "/admin")
    assert response is None
    assert "authorization" in exchange.request.headers


def test_a_refusal_names_the_reason_in_its_challenge() -> None:
    """RFC 6750 §3.1: no error code when there was no token."""
    response, _ = ask("/")
    assert response is not None
    assert orjson.loads(response.body) == {"status": 401, "message": "Unauthorized", "error": "token invalid"}  # type: ignore[arg-type]
    assert response.headers.get("www-authenticate") == 'Bearer realm="pixiu-py"'
    response, _ = ask("/", {"Authorization": "Bearer " + ONE.token(exp=1)})
    assert response is not None
    assert response.headers.get("www-authenticate") == (
        'Bearer realm="pixiu-py", error="invalid_token", error_description="the token has expired"'
    )


def test_of_several_errors_the_most_telling_one_is_told() -> None:
    """A bad token beats a missing one, whichever provider comes first."""
    response, _ = ask("/either", {"X-Two": TWO.token(exp=1)})
    assert response is not None
    assert "the token has expired" in (response.headers.get("www-authenticate") or "")


def test_a_token_that_nobody_can_judge_is_no_fault_of_the_client() -> None:
    """503 as long as the keys are not there; another provider may accept it."""
    assert status("/away", {"Authorization": "Bearer " + TWO.token()}) == 503
    assert status("/away", AUTH_ONE) == 200
    assert status("/away") == 401


def test_tokens_do_not_go_on_and_claims_do() -> None:
    """Only those that were asked for."""
    _, exchange = ask("/either", {**AUTH_ONE, **AUTH_TWO, "X-Claims": "forged", "Accept": "x"})
    assert [name for name, _ in exchange.request.headers] == ["X-Two", "Accept"]
    _, exchange = ask("/admin", {**AUTH_ONE, **AUTH_TWO})
    assert list(exchange.request.headers) == [("x-claims", AUTH_TWO["X-Two"].split(".")[1])]


def test_claims_cannot_be_forged_where_no_token_is_needed() -> None:
    response, exchange = ask("/health", {"x-CLAIMS": "forged"})
    assert response is None
    assert len(exchange.request.headers) == 0


def test_a_refused_request_keeps_its_token() -> None:
    """Whatever handles the refusal sees the request as it came."""
    _, exchange = ask("/admin", AUTH_ONE)
    assert "authorization" in exchange.request.headers


@pytest.mark.parametrize(("path", "parts"), [("/", []), ("", []), ("/a/b/", ["a", "b"]), ("/a//b", ["a", "", "b"])])
def test_segments_of_a_path_are_those_that_are_written(path: str, parts: list[str]) -> None:
    assert segments(path) == parts


@pytest.mark.parametrize(
    ("path", "parts"),
    [("/", []), ("/a//b/", ["a", "b"]), ("/a/./b/..", ["a"]), ("/../../a", ["a"]), ("/a;v=1/..;/b", ["b"])],
)
def test_a_path_is_resolved_as_an_endpoint_may_do_it(path: str, parts: list[str]) -> None:
    assert resolved(path) == parts
