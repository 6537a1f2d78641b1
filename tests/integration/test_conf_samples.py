"""Every file in ``conf`` is right, starts, and does what its comments say."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
import yaml

from pixiu_py.config.load import load_config, load_text
from pixiu_py.gateway import Gateway
from pixiu_py.plugins import build_registry
from pixiu_py.registry import Registry
from tests.conftest import StartGateway
from tests.docs.pages import blocks
from tests.fakes.bodies import chat as completion
from tests.fakes.bodies import error
from tests.fakes.client import Client, Reply
from tests.fakes.folder import folder
from tests.fakes.upstream import Upstream

__all__ = ["folder"]

ROOT = Path(__file__).parents[2]
SAMPLES = sorted((ROOT / "conf").glob("*.yaml"))
WARNINGS = {"pixiu-compat.yaml": ["static_resources.clusters[0].lb"]}

README = (ROOT / "README.md").read_text("utf-8")
#: What the README tells people to try first: the program that runs it, and its text.
FIRST_STEPS = [
    *(("curl", text) for text in blocks(README, "") if text.startswith("curl ")),
    *((sys.executable, text) for text in blocks(README, "python")),
]

Block = dict[str, Any]
Start = Callable[..., Awaitable[int]]

HELLO = orjson.dumps({"model": "mock-small", "messages": [{"role": "user", "content": "Hello"}]})


def sample(name: str) -> Block:
    """The parsed file, without an access log on standard output."""
    document: Block = yaml.safe_load((ROOT / "conf" / name).read_text("utf-8"))
    return {**document, "access_log": {"enable": False}}


def address_of(block: Block) -> Block:
    """The socket address of a listener."""
    address: Block = block["address"]["socket_address"]
    return address


def mock_of(listener: Block) -> Block | None:
    """The config of a listener's mock model, if that is what it runs."""
    manager = listener["filter_chains"]["filters"][0]["config"]
    last = manager["http_filters"][-1]
    return last["config"] if last["name"] == "dgp.filter.llm.mock" else None


def mock_listener(label: str, port: int) -> Block:
    """A listener like those of the quickstart, in place of an endpoint that a sample takes for granted."""
    listener: Block = sample("quickstart.yaml")["static_resources"]["listeners"][1]
    listener["name"] = label
    address_of(listener)["port"] = port
    listener["filter_chains"]["filters"][0]["config"]["http_filters"][0]["config"] = {"label": label}
    return listener


@pytest.fixture(scope="module")
def registry() -> Registry:
    return build_registry(ROOT / "plugins")


@pytest_asyncio.fixture
async def start(registry: Registry) -> AsyncIterator[Start]:
    """``await start(document)`` runs a sample on free ports and returns the port of its gateway.

    Mock models start first, so that the endpoints of the clusters can be pointed at the ports they got.
    """
    async with AsyncExitStack() as stack:

        async def run(resources: Block) -> Gateway:
            for listener in resources["listeners"]:
                address_of(listener).update(address="127.0.0.1", port=0)
            text = yaml.safe_dump({"static_resources": resources, "access_log": {"enable": False}})
            gateway = Gateway(load_text(text, registry).config, registry)
            await gateway.start()
            stack.push_async_callback(gateway.stop)
            return gateway

        async def start(document: Block) -> int:
            resources = document["static_resources"]
            mocks = [listener for listener in resources["listeners"] if mock_of(listener) is not None]
            named = {address_of(listener)["port"]: listener["name"] for listener in mocks}
            models = await run({"listeners": mocks})
            for cluster in resources["clusters"]:
                for endpoint in cluster["endpoints"]:
                    address = endpoint["socket_address"]
                    address["port"] = models.addresses[named[address["port"]]][1]
            fronts = [listener for listener in resources["listeners"] if listener not in mocks]
            return (await run({**resources, "listeners": fronts})).addresses["gateway"][1]

        yield start


async def ask(port: int, method: str, target: str, body: bytes | None = None, **headers: str) -> Reply:
    async with Client(port) as client:
        return await client.request(method, target, headers, body)


async def chat(port: int) -> str:
    """What the model says to Hello."""
    reply = await ask(port, "POST", "/v1/chat/completions", HELLO)
    assert reply.status == 200
    content: str = orjson.loads(reply.body)["choices"][0]["message"]["content"]
    return content


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_sample_is_right(path: Path, registry: Registry) -> None:
    loaded = load_config(path, registry, environ={})
    assert [warning.path for warning in loaded.warnings] == WARNINGS.get(path.name, [])


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
async def test_a_sample_starts_and_stops(path: Path, registry: Registry) -> None:
    document = sample(path.name)
    for listener in document["static_resources"]["listeners"]:
        address_of(listener).update(address="127.0.0.1", port=0)
    gateway = Gateway(load_text(yaml.safe_dump(document), registry, environ={}).config, registry)
    await gateway.start()
    try:
        assert len(gateway.addresses) == len(document["static_resources"]["listeners"])
    finally:
        await gateway.stop()


async def test_the_endpoints_of_the_quickstart_take_turns(start: Start) -> None:
    port = await start(sample("quickstart.yaml"))
    said = [await chat(port) for _ in range(4)]
    assert [text.split("]")[0] for text in said] == ["[first", "[second", "[first", "[second"]


async def test_the_quickstart_streams(start: Start) -> None:
    port = await start(sample("quickstart.yaml"))
    body = orjson.dumps({**orjson.loads(HELLO), "stream": True, "max_tokens": 2})
    reply = await ask(port, "POST", "/v1/chat/completions", body)
    assert reply.status == 200
    assert reply.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("number", range(3), ids=["curl", "openai", "anthropic"])
async def test_the_first_steps_of_the_readme_work(start: Start, number: int) -> None:
    """curl and the official SDKs, as they are written there, before the quickstart."""
    assert len(FIRST_STEPS) == 3
    program, text = FIRST_STEPS[number]
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    port = await start(sample("quickstart.yaml"))
    text = text.replace("127.0.0.1:8888", f"127.0.0.1:{port}")
    words = [program, "-c", text] if program == sys.executable else shlex.split(text.replace("\\\n", " "))
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    assert process.returncode == 0
    assert b"[first]" in printed


async def test_no_client_of_the_quickstart_notices_a_failing_endpoint(start: Start) -> None:
    document = sample("quickstart.yaml")
    mock = mock_of(document["static_resources"]["listeners"][1])
    assert mock is not None
    mock["failure_rate"] = 1
    port = await start(document)
    said = [await chat(port) for _ in range(4)]
    assert {text.split("]")[0] for text in said} == {"[second"}


async def test_the_second_provider_of_the_fallback_sample_only_steps_in(gateway: StartGateway) -> None:
    """The first does all the work while it can; each is asked with its own key, and for its own model."""
    broken = asyncio.Event()
    async with (
        Upstream(lambda _: error(500) if broken.is_set() else completion("ok")) as first,
        Upstream(completion("ok")) as second,
    ):
        document = sample("fallback.yaml")
        resources = document["static_resources"]
        address_of(resources["listeners"][0])["port"] = 0
        for provider, upstream in zip(resources["clusters"][0]["endpoints"], (first, second), strict=True):
            provider["socket_address"] = {"address": "127.0.0.1", "port": upstream.port}
            provider["scheme"] = "http"
            provider["llm_meta"] |= {"api_key": f"key-of-{provider['id']}", "retry_policy": {"name": "NoRetry"}}
        running = await gateway(yaml.safe_dump({**document, "access_log": {}}))
        assert [(await running.chat(model="chat")).status for _ in range(20)] == [200] * 20
        assert (len(first.requests), len(second.requests)) == (20, 0)
        broken.set()
        assert [(await running.chat(model="chat")).status for _ in range(3)] == [200] * 3
        assert (len(first.requests), len(second.requests)) == (21, 3)
    asked = [
        (upstream.requests[-1].header("authorization"), upstream.requests[-1].json()) for upstream in (first, second)
    ]
    assert [(key, body["model"]) for key, body in asked] == [
        (b"Bearer key-of-openai", "gpt-4.1-mini"),
        (b"Bearer key-of-deepseek", "deepseek-chat"),
    ]


async def test_the_plugins_sample_wants_its_header(start: Start) -> None:
    port = await start(sample("plugins.yaml"))
    assert (await ask(port, "POST", "/v1/completions", b'{"prompt": "Hello"}')).status == 401


async def test_the_plugins_sample_hides_words_and_uses_one_endpoint(start: Start) -> None:
    port = await start(sample("plugins.yaml"))
    for stream in (b"false", b"true"):
        body = b'{"prompt": "Hello", "stream": %b}' % stream
        reply = await ask(port, "POST", "/v1/completions", body, **{"x-team": "red"})
        assert (reply.status, reply.header("x-mock-endpoint")) == (200, b"first")
        assert b"***" in reply.body
        assert b"fox" not in reply.body
        assert b"dog" not in reply.body


async def test_web_and_model_share_a_port(start: Start) -> None:
    document = sample("web-and-llm.yaml")
    document["static_resources"]["listeners"] += [mock_listener("llm", 8000), mock_listener("web", 3000)]
    port = await start(document)
    for target, cluster in (("/v1/models", b"llm"), ("/", b"web"), ("/v1x", b"web"), ("/index.html", b"web")):
        assert (await ask(port, "GET", target)).header("x-mock-endpoint") == cluster, target


async def test_the_prompt_cache_sample_does_what_it_says(start: Start) -> None:
    port = await start(sample("promptcache.yaml"))
    body = {"model": "stub-model", "cache_control": {"type": "ephemeral"}}
    body["messages"] = [{"role": "user", "content": "A prompt that is long enough to be worth an entry in the cache."}]
    split = []
    for key in ("sk-alice", "sk-alice", "sk-bob"):
        reply = await ask(port, "POST", "/v1/chat/completions", orjson.dumps(body), authorization=f"Bearer {key}")
        usage = orjson.loads(reply.body)["usage"]
        split.append((usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]))
    assert split == [(0, 16), (16, 0), (0, 16)]


async def test_the_kvcache_sample_goes_on_where_it_began_and_says_why(start: Start) -> None:
    port = await start(sample("kvcache.yaml"))
    messages = [{"role": "user", "content": "Hello " * 200}]
    body = orjson.dumps({"model": "mock-small", "messages": messages})
    why = []
    for _ in range(3):
        reply = await ask(port, "POST", "/v1/chat/completions", body, **{"x-pixiu-route": "1"})
        why.append((reply.header("x-pixiu-route") or b"").decode().split("; "))
    assert [each[1] for each in why] == ["result=miss", "result=hit", "result=hit"]
    assert len({each[2] for each in why}) == 1
    assert why[0][2].startswith("choice=engine-")
    assert (await ask(port, "POST", "/v1/chat/completions", body)).header("x-pixiu-route") is None


async def test_the_router_sample_does_what_it_says(start: Start) -> None:
    """Words choose the model, a name keeps it, the other endpoints answer."""
    port = await start(sample("router.yaml"))

    async def model(text: str, path: str = "/v1/chat/completions", **headers: str) -> Reply:
        body = orjson.dumps({"messages": [{"role": "user", "content": text}]})
        return await ask(port, "POST", path, body, **headers)

    reply = await model("Please fix the bug in this function.")
    assert (reply.header("x-pixiu-model"), reply.header("x-pixiu-route-name")) == (b"big", b"code")
    assert (await model("What is the weather?")).header("x-pixiu-model") == b"small"
    assert (await model("hello, small talk please")).header("x-pixiu-model") == b"small"
    for text in ("def f(): pass", "What is the weather?"):
        assert (await model(text, **{"x-model-affinity": "one"})).header("x-pixiu-model") == b"big"
    decision = orjson.loads((await model("small talk", "/routing/v1/chat/completions")).body)
    assert (decision["models"], decision["route"]) == (["small", "big"], "talk")
    listed = orjson.loads((await ask(port, "GET", "/v1/models")).body)["data"]
    assert [entry["id"] for entry in listed] == ["big", "small", "fast"]
