"""The list of models: each once, with the fields that the clients of both APIs expect."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pixiu_py.clusters.manager import ClusterManager
from pixiu_py.config.model import Cluster as ClusterConfig
from pixiu_py.config.model import ServedModel
from pixiu_py.config.types import Secret
from pixiu_py.errors import StartError
from pixiu_py.filters.base import Context
from pixiu_py.filters.llm.router.listing import MOST_MODELS, Listing, read_models
from tests.fakes.actions import respond
from tests.fakes.bodies import error
from tests.fakes.clusters import cluster_context, endpoint_config
from tests.fakes.exchange import make_exchange
from tests.fakes.kinds import REGISTRY, decoded
from tests.fakes.router import CODE, started
from tests.fakes.upstream import Upstream

ENTRY = next(entry for entry in REGISTRY if entry.kind == "dgp.filter.llm.router")


async def make_context(*endpoints: Any) -> Context:
    """A context with one started cluster."""
    context = cluster_context()
    context.clusters = ClusterManager()
    context.clusters.build([ClusterConfig(name="llm", type="Static", endpoints=list(endpoints))], context)
    await context.clusters.start()
    return context


def serving(name: str, *models: str, port: int = 80, **changes: Any) -> Any:
    """An endpoint that declares these models."""
    return endpoint_config(name, "127.0.0.1", port, models=[ServedModel(name=model) for model in models], **changes)


def names(listing: Listing, context: Context) -> list[str]:
    """What is listed for the cluster."""
    body = listing.answer("/v1/models", context.clusters.get("llm")).body
    assert listing.answer("/v1/models/", context.clusters.get("llm")).body == body
    assert isinstance(body, bytes)
    return [entry["id"] for entry in orjson.loads(body)["data"]]


async def test_declared_models_routes_and_aliases() -> None:
    """In this order, each once; of a route those only that somebody serves."""
    context = await make_context(serving("a", "small", "big"), serving("b", "big", provider="openai"))
    preference = {"name": "r", "description": "", "models": ["big", "nobody's", "quick"]}
    aliases = {"quick": {"target": "small"}}
    config = {"default_model": "small", "model_aliases": aliases, "routing_preferences": [preference]}
    assert names(Listing(decoded(ENTRY, config), context), context) == ["small", "big", "quick"]


async def test_where_anything_is_served_the_models_of_routes_are_listed() -> None:
    context = await make_context(serving("a"))
    assert names(Listing(decoded(ENTRY, CODE), context), context) == ["big", "small"]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/small"])
async def test_head_is_answered_like_get(path: str) -> None:
    """RFC 9110 section 9.3.2: the same fields; the writer leaves the body out. Other methods are the endpoint's."""
    context = await make_context(serving("a", "small"))
    answers = {}
    async with started({}, context) as router:
        for method in ("GET", "HEAD", "DELETE"):
            exchange = make_exchange(method, path)
            exchange.cluster = context.clusters.get("llm")
            answers[method] = await router.decode(exchange)
    get, head = answers["GET"], answers["HEAD"]
    assert get is not None
    assert head is not None
    assert (head.status, list(head.headers), head.body) == (200, list(get.headers), get.body)
    assert answers["DELETE"] is None


async def test_fields() -> None:
    """OpenAI's and Anthropic's, in the list and for one model."""
    context = await make_context(serving("a", "o/small", provider="openai"))
    exchange = make_exchange("GET", "/v1/models")
    exchange.cluster = context.clusters.get("llm")
    async with started({}, context) as router:
        response = await router.decode(exchange)
        exchange.request.path = "/v1/models/o%2Fsmall"
        single = await router.decode(exchange)
        exchange.request.path = "/v1/models/other"
        missing = await router.decode(exchange)
    assert response is not None
    document = orjson.loads(bytes(response.body))  # type: ignore[arg-type]
    (entry,) = document.pop("data")
    assert document == {"object": "list", "has_more": False, "first_id": "o/small", "last_id": "o/small"}
    created = entry.pop("created")
    assert isinstance(created, int)
    assert entry.pop("created_at").endswith("Z")
    assert entry == {
        "id": "o/small",
        "object": "model",
        "owned_by": "openai",
        "type": "model",
        "display_name": "o/small",
    }
    assert single is not None
    assert orjson.loads(bytes(single.body))["id"] == "o/small"  # type: ignore[arg-type]
    assert missing is not None
    assert missing.status == 404


async def test_owner_is_who_serves_the_model() -> None:
    """Also of one that a route or an alias names again; the aliases are this gateway's own."""
    context = await make_context(serving("a", "small", provider="openai"), serving("b", "big"))
    config = {**CODE, "model_aliases": {"fast": {"target": "small"}}}
    body = Listing(decoded(ENTRY, config), context).answer("/v1/models", context.clusters.get("llm")).body
    owners = {entry["id"]: entry["owned_by"] for entry in orjson.loads(bytes(body))["data"]}  # type: ignore[arg-type]
    assert owners == {"small": "openai", "big": "llm", "fast": "pixiu-py"}


async def test_switched_off_it_is_the_endpoints_business() -> None:
    async with started({"models": {"enable": False}}, await make_context(serving("a", "m"))) as router:
        assert await router.decode(make_exchange("GET", "/v1/models")) is None


async def test_path_that_only_begins_alike_is_another() -> None:
    async with started({}, await make_context(serving("a", "m"))) as router:
        assert await router.decode(make_exchange("GET", "/v1/models-of-cars")) is None
        assert await router.decode(make_exchange("GET", "/v1/models/")) is not None


async def test_upstreams_are_asked_and_their_last_good_answer_kept() -> None:
    """Those that declare none; with their own key."""
    listed = respond(200, body=b'{"object":"list","data":[{"id":"llama"},{"id":3},{"id":"qwen"}]}')
    async with Upstream([listed, error(500)]) as upstream:
        context = await make_context(serving("a", "small"), serving("b", port=upstream.port, api_key=Secret("k")))
        listing = Listing(decoded(ENTRY, {"models": {"clusters": ["llm"]}}), context)
        await listing.start()
        for _ in range(2):
            await listing.refresh()
            assert names(listing, context) == ["small", "llama", "qwen"]
        await listing.close()
    assert [request.target for request in upstream.requests] == ["/v1/models"] * 2
    assert upstream.requests[0].header("authorization") == b"Bearer k"


async def test_upstreams_are_asked_in_the_background() -> None:
    """From the start on, and at an interval."""
    listed = respond(200, body=b'{"data":[{"id":"llama"}]}')
    async with Upstream(listed) as upstream:
        context = await make_context(serving("b", port=upstream.port))
        config = decoded(ENTRY, {"models": {"clusters": ["llm"], "from_upstreams": "1ms"}})
        listing = Listing(config, context)
        await listing.start()
        await upstream.until(lambda upstream: len(upstream.requests) >= 3)
        assert names(listing, context) == ["llama"]
        await listing.close()


async def test_cluster_that_is_not_there_stops_the_start() -> None:
    context = await make_context()
    with pytest.raises(StartError, match="gone"):
        await Listing(decoded(ENTRY, {"models": {"clusters": ["gone"]}}), context).start()


def test_answers_are_bounded() -> None:
    """So many models, names of such a length; what is no list is none."""
    many = orjson.dumps({"data": [{"id": str(number)} for number in range(MOST_MODELS + 5)] + [None]})
    assert len(read_models(many)) == MOST_MODELS
    assert read_models(b'{"data":[{"id":"%b"},{"id":""},{"id":"ok"}]}' % (b"x" * 300)) == ("ok",)
    for body in (b"[]", b"{", b'{"data":{}}'):
        with pytest.raises(ValueError):
            read_models(body)
