"""Rule: no key, token, cookie, query or body is ever in a log, a metric, a local reply or a ``repr``, whatever fails."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import structlog

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.config.load import load_text
from pixiu_py.config.types import Secret
from pixiu_py.http.headers import Headers
from pixiu_py.observability.log import configure
from tests.conftest import StartGateway
from tests.fakes import actions, bodies
from tests.fakes.bodies import error
from tests.fakes.client import Client, chat_body, request
from tests.fakes.conf import Block, conf, endpoint, http_filter, llm_conf
from tests.fakes.kinds import REGISTRY
from tests.fakes.process import GatewayProcess, gateway_process
from tests.fakes.upstream import Action, Request, Upstream, refusing_port

KEY = "sk-endpoint-very-secret"
#: What must show up nowhere.
SECRETS = (KEY, "token-secret", "cookie-secret", "query-secret", "prompt-secret", "csrf-shared-secret", "answer-secret")
FIELDS = {"Authorization": "Bearer token-secret", "x-api-key": "token-secret", "Cookie": "session=cookie-secret"}
QUERY = "?api_key=query-secret"

#: A filter that fails where the client says, with a credential in a local variable.
BROKEN = '''
"""Fails on demand."""

from pixiu_py.filters.base import HttpFilter
from pixiu_py.registry import Family, plugin


def fail(exchange, hook):
    headers = exchange.request.headers
    credential = headers.get("authorization")
    raw = list(headers.raw)
    if headers.get("x-fail") == hook:
        raise RuntimeError(f"told to fail in {hook}, {len(raw)} fields, {len(credential)} letters")


@plugin(Family.HTTP_FILTER, "test.broken")
class Broken(HttpFilter):
    """Fails on demand."""

    def decode(self, exchange):
        fail(exchange, "decode")

    def encode(self, exchange):
        fail(exchange, "encode")

    def encode_chunk(self, exchange, chunk):
        fail(exchange, "encode_chunk")
        return chunk

    def done(self, exchange):
        fail(exchange, "done")
'''

#: Name of a failure → what the endpoint does.
ANSWERS: dict[str, Action] = {
    "good": bodies.chat("answer-secret"),
    "500": error(500, message=f"wrong key {KEY}"),
    "401": error(401, message=f"wrong key {KEY}"),
    "429": error(429, message=f"{KEY} has no quota"),
    "reset": actions.reset(),
    "garbage": actions.close(b"answer-secret " + KEY.encode() + b"\r\n"),
    "bad field": actions.close(b"HTTP/1.1 200 OK\r\nX\x00: answer-secret\r\n\r\n"),
    "silent": actions.stall(),
    "error event": bodies.error_sse(f"wrong key {KEY}"),
    "cut": bodies.cut_sse("answer-secret"),
    "cut body": actions.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nanswer-secret", then="reset"),
}
#: Those in which the client gets the endpoint's own stream or body, as it comes and unread.
TOLD = ("good", "cut", "cut body", "error event")


def script(seen: Request) -> Action:
    """The failure that the client has asked for."""
    return ANSWERS[(seen.header("x-want") or b"good").decode()]


def configuration(live: Upstream, dead: int, log: Path) -> str:
    """Secrets wherever there may be some; two endpoints, so that there is something to fall back to."""
    first = endpoint(live, "first", api_key=KEY, fallback=True, retry=1)
    last = endpoint(live, "last", api_key=KEY)
    gone = endpoint(dead, "gone", api_key=KEY)
    csrf = http_filter("dgp.filter.http.csrf", key="t", secret="csrf-shared-secret", ignore_methods=["POST", "GET"])
    proxy = http_filter("dgp.filter.llm.proxy", first_byte_timeout="200ms", max_body_size=100_000)
    names = ("test.broken", "dgp.filter.http.metric", "dgp.filter.http.prometheusmetric", "dgp.filter.llm.tokenizer")
    routes = [
        {"match": {"prefix": f"/{name}"}, "route": {"cluster": cluster}}
        for name, cluster in (("v1", "main"), ("gone", "gone"), ("empty", "empty"))
    ]
    clusters: list[Block] = [{"name": "gone", "endpoints": [gone]}, {"name": "empty", "endpoints": []}]
    return conf(
        first,
        last,
        filters=[*map(http_filter, names), csrf, proxy],
        routes=routes,
        clusters=clusters,
        top={"access_log": {"path": str(log)}, "metric": {"enable": True, "prometheus_port": 0}},
    )


async def ask(running: GatewayProcess, path: str, more: Mapping[str, str]) -> bytes:
    """One request full of secrets; everything that came back."""
    async with Client(running.port) as client:
        fields = {**FIELDS, **more, "Connection": "close"}
        body = chat_body(stream=True, user="prompt-secret")
        await client.send(request("POST", path + QUERY, fields, body))
        return await client.read_rest()


async def misbehave(running: GatewayProcess) -> list[bytes]:
    """Requests that fail before they are any; what was answered."""
    head = f"POST /v1/x{QUERY} HTTP/1.1\r\nHost: h\r\nCookie: session=cookie-secret\r\n".encode()
    answers = []
    for rest in (
        b"no field: token-secret\x00\r\n\r\n",
        b"Authorization: " + b"token-secret" * 10_000 + b"\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nprompt-secret\r\n",
        b"Content-Length: 200000\r\n\r\nprompt-secret",
    ):
        async with Client(running.port) as client:
            await client.send(head + rest)
            reply = await client.read_response()
            assert reply.status in (400, 413, 431)
            answers.append(reply.head + reply.body)
    return answers


async def fail_in_every_way(running: GatewayProcess) -> list[bytes]:
    """The answers to all sorts of failures that must not tell a secret."""
    answers = [await ask(running, path, {}) for path in ("/gone", "/empty", "/nowhere")]
    for want in ANSWERS:
        answer = await ask(running, "/v1/chat/completions", {"x-want": want})
        assert answer.startswith(b"HTTP/1.1 ")
        answers += [] if want in TOLD else [answer]
    for hook in ("decode", "encode", "encode_chunk", "done"):
        answer = await ask(running, "/v1/chat/completions", {"x-fail": hook})
        answers += [answer] if hook in ("decode", "encode") else []
    return answers + await misbehave(running)


def found_in(text: str) -> list[str]:
    """Which of the secrets are there."""
    return [secret for secret in SECRETS if secret in text]


@pytest.mark.parametrize("style", ["json", "console"])
async def test_nothing_that_is_written_tells_a_secret(tmp_path: Path, style: str) -> None:
    """Neither the log, at its most talkative, nor the access log, the metrics or the answers."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "broken.py").write_text(BROKEN)
    log = tmp_path / "access.log"
    flags = ("--plugins-dir", str(tmp_path / "plugins"), "--log-level", "debug", "--log-format", style)
    with refusing_port() as dead:
        async with Upstream(script) as live:
            async with gateway_process(tmp_path, configuration(live, dead, log), *flags) as running:
                answers = await fail_in_every_way(running)
                port = int((await running.until_printed(r"(?s)127\.0\.0\.1:\d+.*?127\.0\.0\.1:(\d+)"))[1])
                async with Client(port) as client:
                    metrics = (await client.request("GET", "/metrics")).body.decode()
                assert await running.end() == 0
    assert found_in(running.printed) == []
    assert found_in(log.read_text()) == []
    assert found_in(metrics) == []
    assert [answer for answer in answers if found_in(answer.decode("latin-1"))] == []
    for hook in ("decode", "encode", "encode_chunk", "done"):
        assert f"told to fail in {hook}" in running.printed, "the failures were logged"
    assert "malformed request" in running.printed
    assert '"error":"timeout_first_byte"' in log.read_text()
    assert log.read_text().count("\n") >= len(ANSWERS) + 7
    assert "pixiu_py_requests_total" in metrics


async def test_a_key_in_a_stream_that_was_held_is_hidden(gateway: StartGateway) -> None:
    """An error event that was read, because there was something to fall back to, and is told in the end."""
    async with Upstream(ANSWERS["error event"]) as first:
        with refusing_port() as dead:
            running = await gateway(llm_conf(endpoint(first, api_key=KEY, fallback=True), endpoint(dead)))
            reply = await running.chat(stream=True)
    assert reply.status == 503
    assert b"wrong key ***" in reply.body
    assert found_in(reply.body.decode()) == []


def test_nothing_shows_a_secret_when_it_is_printed() -> None:
    """Objects that somebody may log or meet in a debugger."""
    mock = [http_filter("dgp.filter.llm.mock")]
    loaded = load_text(
        conf(endpoint(1, "e", api_key=KEY), filters=[http_filter("dgp.filter.http.csrf", key="t", secret=KEY), *mock]),
        REGISTRY,
        {},
    )
    one = Endpoint("c", "e", "h", 1)
    one.api_key = Secret(KEY)
    headers = Headers([(b"Authorization", KEY.encode())])
    shown = [f"{thing!r} {thing}" for thing in (loaded.config, loaded, one, headers, one.api_key, one.cooldown)]
    assert found_in(" ".join(shown)) == []
    assert "***" in repr(loaded.config)


def test_tracebacks_show_no_local_variables() -> None:
    """structlog would show them on a console as soon as a certain package is installed."""
    before = structlog.get_config()
    try:
        configure("debug", "console")
        renderer = structlog.get_config()["processors"][-1]
        assert structlog.dev.plain_traceback in vars(renderer).values()
    finally:
        structlog.configure(**before)
