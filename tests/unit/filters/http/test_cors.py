"""Rules of CORS: who gets headers, which, and that credentials are never for everybody."""

from __future__ import annotations

import pytest
from fakes.exchange import make_context, make_exchange
from structlog.testing import capture_logs

from pixiu_py.filters.chain import FilterChain
from pixiu_py.filters.http.cors import Cors, CorsConfig
from pixiu_py.http.exchange import Response
from pixiu_py.http.headers import Headers
from pixiu_py.http.local_reply import local_reply

APP = "https://app.example.com"
PREFLIGHT = {"Origin": APP, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization"}


async def run(config, headers=None, method="GET", response=None):
    """The response as the client would get it."""
    chain = FilterChain([Cors(CorsConfig(**config), make_context())])
    exchange = make_exchange(method, headers=headers)
    exchange.response = await chain.decode(exchange) or response or Response(200)
    await chain.encode(exchange)
    return exchange.response


def cors_fields(response):
    return {name.lower() for name, _ in response.headers if name.lower().startswith("access-control-")}


async def test_a_request_without_origin_gets_no_cors_headers():
    response = await run({"allow_origin": [APP], "allow_credentials": True}, {})
    assert cors_fields(response) == set()


async def test_a_named_origin_is_echoed():
    response = await run({"allow_origin": [APP, "https://b"], "expose_headers": "X-A"}, {"Origin": APP})
    assert response.headers.getall("access-control-allow-origin") == [APP]
    assert response.headers.get("access-control-expose-headers") == "X-A"
    assert response.headers.get("vary") == "Origin"


@pytest.mark.parametrize("origin", ["https://evil.example.com", APP + ".evil.com", "http://app.example.com", "null"])
async def test_another_origin_gets_no_cors_headers_not_even_the_endpoints(origin):
    upstream = Response(
        200, Headers.of({"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "true"})
    )
    response = await run({"allow_origin": [APP], "allow_credentials": True}, {"Origin": origin}, response=upstream)
    assert cors_fields(response) == set()
    assert response.headers.get("vary") == "Origin"


@pytest.mark.parametrize("origins", [["*"], ["*", APP]])
async def test_star_is_for_everybody_and_needs_no_vary(origins):
    response = await run({"allow_origin": origins}, {"Origin": APP})
    assert response.headers.get("access-control-allow-origin") == "*"
    assert "vary" not in response.headers


async def test_star_never_goes_with_credentials():
    response = await run({"allow_origin": ["*"], "allow_credentials": True}, {"Origin": "https://any"})
    assert response.headers.get("access-control-allow-origin") == "*"
    assert "access-control-allow-credentials" not in response.headers


async def test_beside_star_a_named_origin_gets_credentials_under_its_own_name():
    response = await run({"allow_origin": ["*", APP], "allow_credentials": True}, {"Origin": APP})
    assert response.headers.get("access-control-allow-origin") == APP
    assert response.headers.get("access-control-allow-credentials") == "true"
    assert response.headers.get("vary") == "Origin"


async def test_the_endpoints_own_cors_headers_are_replaced_not_doubled():
    upstream = Response(200, Headers.of({"access-control-allow-origin": "https://other"}))
    response = await run({"allow_origin": [APP]}, {"Origin": APP}, response=upstream)
    assert response.headers.getall("access-control-allow-origin") == [APP]


@pytest.mark.parametrize(
    ("vary", "expected"), [("Accept", ["Accept", "Origin"]), ("accept, ORIGIN", ["accept, ORIGIN"])]
)
async def test_vary_is_appended_once(vary, expected):
    upstream = Response(200, Headers.of({"Vary": vary}))
    response = await run({"allow_origin": [APP]}, {"Origin": APP}, response=upstream)
    assert response.headers.getall("vary") == expected


async def test_a_cacheable_answer_without_origin_says_that_it_varies():
    response = await run({"allow_origin": [APP]}, {})
    assert response.headers.get("vary") == "Origin"


async def test_a_preflight_is_answered_here():
    config = {"allow_origin": [APP], "allow_methods": "GET, PUT", "allow_headers": "X-A", "max_age": "600"}
    response = await run(config, PREFLIGHT, "OPTIONS")
    assert (response.status, response.body) == (204, b"")
    assert response.headers.get("access-control-allow-origin") == APP
    assert response.headers.get("access-control-allow-methods") == "GET, PUT"
    assert response.headers.get("access-control-allow-headers") == "X-A"
    assert response.headers.get("access-control-max-age") == "600"


async def test_the_line_break_that_a_yaml_block_ends_in_is_not_sent():
    config = {"allow_origin": [APP], "allow_methods": "GET, PUT\n", "allow_headers": "*\n", "max_age": "600\n"}
    response = await run(config, PREFLIGHT, "OPTIONS")
    assert response.headers.get("access-control-allow-methods") == "GET, PUT"
    assert response.headers.get("access-control-allow-headers") == "authorization"
    assert response.headers.get("access-control-max-age") == "600"
    response = await run({"allow_origin": [APP], "expose_headers": "x-a\n"}, {"Origin": APP})
    assert response.headers.get("access-control-expose-headers") == "x-a"


@pytest.mark.parametrize("key", ["allow_methods", "allow_headers", "expose_headers", "max_age"])
def test_what_would_break_every_answer_is_refused(key):
    with pytest.raises(ValueError, match=f"{key}: a header field has no line breaks"):
        CorsConfig(**{key: "a,\nb"})


async def test_star_in_a_preflight_names_what_was_asked_for():
    response = await run({"allow_origin": [APP], "allow_methods": "*", "allow_headers": "*"}, PREFLIGHT, "OPTIONS")
    assert response.headers.get("access-control-allow-methods") == "PUT"
    assert response.headers.get("access-control-allow-headers") == "authorization"


async def test_a_preflight_of_another_origin_is_answered_without_leave():
    response = await run({"allow_origin": ["https://b"], "allow_methods": "PUT"}, PREFLIGHT, "OPTIONS")
    assert response.status == 204
    assert cors_fields(response) == set()


@pytest.mark.parametrize("headers", [{"Origin": APP}, {"Access-Control-Request-Method": "PUT"}])
async def test_other_options_requests_go_on(headers):
    response = await run({"allow_origin": [APP]}, headers, "OPTIONS", Response(299))
    assert response.status == 299


async def test_fields_of_preflights_are_not_on_other_responses():
    config = {"allow_origin": [APP], "allow_methods": "PUT", "allow_headers": "X-A", "max_age": 600}
    assert cors_fields(await run(config, {"Origin": APP})) == {"access-control-allow-origin"}


async def test_local_replies_have_the_headers_too():
    response = await run({"allow_origin": [APP]}, {"Origin": APP}, response=local_reply(401))
    assert response.status == 401
    assert response.headers.get("access-control-allow-origin") == APP


@pytest.mark.parametrize(
    ("origin", "warnings"), [("app.example.com", 1), (APP + "/", 1), (APP, 0), ("*", 0), ("null", 0)]
)
async def test_an_origin_that_can_never_match_is_pointed_out(origin, warnings):
    with capture_logs() as logs:
        await Cors(CorsConfig(allow_origin=[origin]), make_context()).start()
    assert len(logs) == warnings
