"""A compressed request is one like any other: it is read where it must be, and goes on unpacked from there."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from tests.conftest import StartGateway
from tests.fakes.bodies import chat
from tests.fakes.client import Reply
from tests.fakes.conf import endpoint, http_filter, llm_conf
from tests.fakes.gateway import RunningGateway
from tests.fakes.promptcache import chat as chat_request
from tests.fakes.promptcache import text, user
from tests.fakes.sessions import AFFINITY, make_decider, router_conf
from tests.fakes.upstream import Upstream

PLAIN = orjson.dumps({"model": "any", "messages": [{"role": "user", "content": "code for me"}]})


async def send(running: RunningGateway, body: bytes, encoding: str, session: str = "") -> int:
    """The status of the answer to a request with such a body."""
    headers = {"content-type": "application/json", "content-encoding": encoding}
    if session:
        headers[AFFINITY] = session
    return (await running.request("POST", "/v1/chat/completions", headers, body)).status


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_it_is_decided_about_and_pinned(
    gateway: StartGateway, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    """The first of a session, the next one, and one without: each goes to its model under that model's name."""
    packed = pack(PLAIN)
    async with Upstream([chat("a")] * 4) as big, Upstream([]) as small:
        running = await gateway(router_conf(big, small), make_decider())
        for session in ("", "s1", "s1", "s1"):
            assert await send(running, packed, encoding, session) == 200
    expected = PLAIN.replace(b'"any"', b'"big"')
    for request in big.requests:
        assert (request.body, request.header("content-encoding")) == (expected, None)
        assert request.header("content-length") == b"%d" % len(expected)
    assert {line["bytes_in"] for line in await running.wait_log(4)} == {len(packed)}


@pytest.mark.parametrize("session", ["", "s1"])
@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (PLAIN, "snappy", 415),
        (PLAIN, "gzip", 400),
        (gzip.compress(PLAIN)[:-4], "gzip", 400),
        (gzip.compress(b" " * 5000 + PLAIN), "gzip", 413),
    ],
    ids=["unknown", "not packed", "cut off", "too large when unpacked"],
)
async def test_what_cannot_be_unpacked_is_refused(
    gateway: StartGateway, session: str, body: bytes, encoding: str, status: int
) -> None:
    """Pinned or not: the model that was chosen could not be put in."""
    async with Upstream([chat("a")]) as big, Upstream([]) as small:
        running = await gateway(router_conf(big, small, max_body_size=4096), make_decider())
        assert await send(running, gzip.compress(PLAIN), "gzip", session) == 200
        assert await send(running, body, encoding, session) == status
        assert len(big.requests) == 1


async def test_nobody_who_reads_it_is_nobody_who_unpacks_it(gateway: StartGateway) -> None:
    """The proxy alone passes it on as it came."""
    packed = gzip.compress(PLAIN)
    async with Upstream([chat("a")]) as upstream:
        running = await gateway(llm_conf(endpoint(upstream)))
        assert await send(running, packed, "gzip") == 200
        assert (upstream.request.body, upstream.request.header("content-encoding")) == (packed, b"gzip")


@pytest.mark.parametrize("proxy", [{"heartbeat": "5s"}, {}], ids=["heartbeat", "models"])
async def test_proxy_that_reads_it_sends_it_unpacked(gateway: StartGateway, proxy: dict[str, str]) -> None:
    """What was read and what is sent are the same."""
    async with Upstream([chat("a")]) as upstream:
        meta = {} if proxy else {"models": ["any"]}
        running = await gateway(llm_conf(endpoint(upstream, **meta), proxy=proxy))
        assert await send(running, gzip.compress(PLAIN), "gzip") == 200
        assert (upstream.request.body, upstream.request.header("content-encoding")) == (PLAIN, None)


async def test_filters_that_look_along_let_pass_what_they_cannot_read(gateway: StartGateway) -> None:
    """They have no say in whether a request can be answered."""
    async with Upstream([chat("a")]) as one, Upstream([chat("a")]) as other:
        filters = [http_filter("dgp.filter.ai.kvcache"), http_filter("dgp.filter.llm.promptcache")]
        running = await gateway(llm_conf(endpoint(one), endpoint(other), filters=filters))
        assert await send(running, PLAIN, "snappy") == 200
        assert (one.requests + other.requests)[0].body == PLAIN


# --- prompt-cache accounting: it looks for markers in what it can read ---------------------------------------------------

MARKED = orjson.dumps(chat_request(user(text("w" * 40, ""), text("tail"))))
UNMARKED = orjson.dumps(chat_request(user(text("w" * 40), text("tail"))))
ACCOUNTING: dict[str, Any] = {
    "index": {"type": "memory"},
    "principals": [{"key": "sk-alice", "principal": "alice"}],
    "tariffs": [{"model": "m", "min_prefix_tokens": 1}],
}


async def ask(running: RunningGateway, key: str, body: bytes, encoding: str = "gzip") -> Reply:
    """The answer to a request of a key's owner."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json", "content-encoding": encoding}
    return await running.request("POST", "/v1/chat/completions", headers, body)


async def test_markers_in_it_are_followed_and_taken_out(gateway: StartGateway) -> None:
    """The second request reads what the first one wrote, and the endpoint sees neither markers nor the encoding."""
    usage = {"prompt_tokens": 100, "completion_tokens": 2}
    async with Upstream([chat("a", usage=usage)] * 2) as upstream:
        filters = [http_filter("dgp.filter.llm.promptcache", **ACCOUNTING)]
        running = await gateway(llm_conf(endpoint(upstream), filters=filters))
        told = [(await ask(running, "sk-alice", gzip.compress(MARKED))).json()["usage"] for _ in range(2)]
    assert [(said["cache_read_input_tokens"] > 0, said["cache_creation_input_tokens"] > 0) for said in told] == [
        (False, True),
        (True, False),
    ]
    for request in upstream.requests:
        assert (request.body, request.header("content-encoding")) == (UNMARKED, None)


async def test_a_strangers_markers_are_taken_out_of_it(gateway: StartGateway) -> None:
    """As of a plain one: the endpoint does not know them, whoever asks."""
    async with Upstream([chat("a")]) as upstream:
        filters = [http_filter("dgp.filter.llm.promptcache", **ACCOUNTING)]
        running = await gateway(llm_conf(endpoint(upstream), filters=filters))
        assert (await ask(running, "sk-other", gzip.compress(MARKED))).status == 200
    assert (upstream.request.body, upstream.request.header("content-encoding")) == (UNMARKED, None)


@pytest.mark.parametrize("key", ["sk-alice", "sk-other"])
@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (MARKED, "snappy"),
        (MARKED, "gzip"),
        (gzip.compress(MARKED)[:-4], "gzip"),
        (gzip.compress(b" " * 5000 + MARKED), "gzip"),
    ],
    ids=["unknown", "not packed", "cut off", "too large when unpacked"],
)
async def test_what_accounting_cannot_unpack_goes_on_as_it_came(
    gateway: StartGateway, key: str, body: bytes, encoding: str
) -> None:
    """It is no reason to refuse anything; the endpoint may read more than we do."""
    async with Upstream([chat("a")]) as upstream:
        filters = [http_filter("dgp.filter.llm.promptcache", **ACCOUNTING, max_body=4096)]
        running = await gateway(llm_conf(endpoint(upstream), filters=filters))
        assert (await ask(running, key, body, encoding)).status == 200
    assert (upstream.request.body, upstream.request.header("content-encoding")) == (body, encoding.encode())
