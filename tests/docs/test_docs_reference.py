"""The reference pages tell the truth: verdicts, stream endings, credentials, routing examples, providers, kinds."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.clusters.providers import PROVIDERS
from pixiu_py.config import model
from pixiu_py.config.load import load_text
from pixiu_py.config.model import Config
from pixiu_py.config.types import Secret
from pixiu_py.config.unsupported import UNSUPPORTED
from pixiu_py.errors import ConfigError, UpstreamError, UpstreamTimeout
from pixiu_py.filters.llm.dialect import dialect_of
from pixiu_py.filters.llm.proxy import LlmProxyConfig
from pixiu_py.filters.llm.proxy.verdict import Blame, Verdict, blame, judge
from pixiu_py.http.request_id import request_id
from pixiu_py.plugins import build_registry
from pixiu_py.registry import Family
from pixiu_py.routing.table import RouteTable
from pixiu_py.upstream.head import Forwarded, endpoint_credentials
from pixiu_py.upstream.retry import RETRYABLE
from tests.docs.pages import blocks, code, read, section, tables
from tests.fakes.routing import request

LLM = "filters/llm-proxy.md"
REGISTRY = build_registry()

# --- LLM proxy -------------------------------------------------------------------------------------------------------

(OUTCOMES,) = tables(section(LLM, "What an outcome means"))
FALL_BACK_ON = LlmProxyConfig().fall_back_on
AGAIN = {Verdict.ANSWER: "no: it is the answer", Verdict.FALL_BACK: "no", Verdict.RETRY: "while the policy has tries"}
BLAME = {Blame.SUCCESS: "nothing", Blame.REST: "a rest", Blame.FAILURE: "a failure"}


def statuses(row: list[str]) -> list[int]:
    """The statuses that a row names."""
    return [int(status) for status in re.findall(r"\b\d{3}\b", row[0])]


@pytest.mark.parametrize("row", OUTCOMES, ids=[row[0] for row in OUTCOMES])
def test_an_outcome_means_what_the_table_says(row: list[str]) -> None:
    """Each row as ``verdict.py`` decides it; the last one stands for an attempt without a status."""
    examples = [200, 301, 400, 404, 413, 422, 501, 529] if row[0].startswith("any") else statuses(row) or [0]
    for status in examples:
        verdict = judge(status, RETRYABLE, FALL_BACK_ON)
        assert row[1] == AGAIN[verdict], status
        assert row[2].startswith("no" if verdict is Verdict.ANSWER else "yes"), status
        assert row[3].startswith(BLAME[blame(status, verdict, own_key=True)]), status


def test_every_status_with_a_meaning_is_in_the_table() -> None:
    """And in one row only."""
    assert sorted(status for row in OUTCOMES for status in statuses(row)) == sorted({*RETRYABLE, *FALL_BACK_ON})


(ENDINGS,) = tables(section(LLM, "How a stream ends"))


@pytest.mark.parametrize("row", ENDINGS, ids=[row[0] for row in ENDINGS])
def test_a_stream_ends_as_the_table_says(row: list[str]) -> None:
    """What is complete, and how the error event of each API looks."""
    path = (code(row[0]) or ["/embeddings"])[0]
    dialect = dialect_of(f"/v1{path}")
    assert dialect.complete(b"data: {}\n\n") is (path == "/embeddings")
    for end in code(row[1]):
        event = {
            "[DONE]": b"data: [DONE]\n\n",
            "finish_reason": b'data: {"choices":[{"finish_reason":"stop"}]}\n\n',
        }.get(end) or b'data: {"type":"%b"}\n\n' % (f"response{end}" if end[0] == "." else end).encode()
        assert dialect.complete(event), end
    shape = row[2] if path != "/embeddings" else ENDINGS[0][2]
    assert dialect.error_event("…", "…").decode() == "\n".join(code(shape)) + "\n\n"


def test_every_error_of_an_attempt_is_there() -> None:
    """The kinds of upstream errors, and the three that the filter itself writes."""
    (rows,) = tables(section(LLM, "What is recorded"))
    documented = {kind for row in rows for kind in code(row[0])}
    classes = {UpstreamError, *UpstreamError.__subclasses__()} - {UpstreamTimeout}
    kinds = {cls.kind for cls in classes} | {f"timeout_{phase}" for phase in ("connect", "first_byte", "idle", "total")}
    assert documented == kinds | {"status", "stream_error", "cancelled"}


def test_credentials_go_where_the_page_says() -> None:
    """The headers it names are the client's credential; its three rows are what an endpoint gets."""
    named = code(section(LLM, "Credentials").strip().split("\n\n")[0])
    forwarded = Forwarded.of([(name.encode(), b"mine") for name in [*named, "accept"]])
    client = forwarded.credentials
    assert client == b"".join(b"%b: mine\r\n" % name.encode() for name in named)
    assert forwarded.block == b"accept: mine\r\n"
    assert endpoint_credentials(keyed(), client) == client
    assert endpoint_credentials(keyed(client_auth="drop"), client) == b""
    assert endpoint_credentials(keyed(api_key=Secret("k")), client) == b"Authorization: Bearer k\r\n"
    assert endpoint_credentials(keyed(api_key=Secret("k"), auth_header="x-api-key"), client) == b"x-api-key: k\r\n"


def keyed(**settings: Any) -> Endpoint:
    """An endpoint; it is not changed once it has been asked."""
    endpoint = Endpoint("c", "e", "127.0.0.1", 1)
    for name, value in settings.items():
        setattr(endpoint, name, value)
    return endpoint


@pytest.mark.parametrize(
    ("given", "kept"), [("a-Z.9_:/+=-", True), ("x" * 128, True), ("x" * 129, False), ("a b", False)]
)
def test_a_decent_request_id_is_kept(given: str, kept: bool) -> None:
    """As docs/filters/connection-manager.md says."""
    assert (request_id(request("/", fields=[("x-request-id", given)]).headers) == given) is kept
    assert "1 to 128 letters, digits and `._:/+=-`" in read("filters/connection-manager.md")


# --- routing ---------------------------------------------------------------------------------------------------------

(EXAMPLE,) = blocks(read("routing.md"), "yaml")
(REQUESTS,) = tables(section("routing.md", "Who wins"))


def route_table() -> RouteTable[str]:
    """The routes of the example, under their ids."""
    config: Config = load_text(EXAMPLE, REGISTRY, {}).config
    manager = config.static_resources.listeners[0].filter_chains.filters[0].config
    return RouteTable([(route, route.id) for route in manager.route_config.routes])


@pytest.mark.parametrize("row", REQUESTS, ids=[row[0] + row[1] for row in REQUESTS])
def test_a_request_goes_where_the_table_says(row: list[str]) -> None:
    """Each example of docs/routing.md."""
    method, target = code(row[0])[0].split()
    condition = (code(row[1]) or [""])[0]
    name, _, value = condition.partition(": ")
    fields = {"header": [(name, value)], "host": [("Host", condition)]}.get(row[1].split(" ")[0], [])
    found = route_table().match(request(target, method, fields), condition if row[1].startswith("model") else "")
    assert found is not None
    assert found[0].payload == code(row[2])[0]


# --- clusters --------------------------------------------------------------------------------------------------------


def test_every_provider_is_there_as_it_is() -> None:
    """Address, path prefix and key header."""
    (rows,) = tables(section("clusters.md", "Providers"))
    documented = {name: row[1:] for row in rows for name in code(row[0])}
    assert sorted(documented) == sorted(PROVIDERS)
    for name, (address, prefix, header) in documented.items():
        provider = PROVIDERS[name]
        assert address == (provider.host or "your own"), name
        assert code(prefix) == ([provider.path_prefix] if provider.path_prefix else []), name
        assert code(header) == [provider.auth_header], name


@pytest.mark.parametrize(
    ("title", "family"), [("Types", Family.CLUSTER), ("Balancers", Family.LOAD_BALANCER)], ids=["types", "balancers"]
)
def test_every_kind_is_there(title: str, family: Family) -> None:
    """The tables of docs/clusters.md have all that is built in."""
    (rows,) = tables(section("clusters.md", title))
    assert sorted(code(row[0])[0] for row in rows) == REGISTRY.kinds(family)


def test_every_retry_policy_is_named() -> None:
    """With its own table, or as the one without keys."""
    text = section("configuration.md", "Retry policies")
    assert all(f"`{kind}`" in text for kind in REGISTRY.kinds(Family.RETRY_POLICY))


# --- all pages -------------------------------------------------------------------------------------------------------


def test_every_filter_has_its_page() -> None:
    """The index lists every HTTP filter once, each page is titled with its kind."""
    listed = dict(re.findall(r"^\| \[([\w.]+)\]\((filters/[\w-]+\.md)\)", read("README.md"), re.MULTILINE))
    assert sorted(listed) == REGISTRY.kinds(Family.HTTP_FILTER)
    for kind, page in listed.items():
        assert read(page).startswith(f"# {kind}\n")


def test_every_block_of_the_file_has_its_table() -> None:
    """docs/configuration.md has a table for each class of ``config/model.py``, and for the retry policies with keys."""
    known = [cls for cls in vars(model).values() if inspect.isclass(cls) and cls.__module__ == model.__name__]
    documented = re.findall(r"<!-- keys (\w+) -->", read("configuration.md"))
    expected = {cls.__name__ for cls in known if cls is not model.Outer} | {"CountBased", "ExponentialBackoff"}
    assert sorted(documented) == sorted(expected)


def test_what_is_refused_is_refused() -> None:
    """Every kind that docs/pixiu-differences.md calls refused has its sentence, and so has every such key of the file."""
    text = section("pixiu-differences.md", "Refused")
    kinds = set(re.findall(r"`(dgp\.[\w.]+)`", text)) - {"dgp.filter.http.httpproxy"}
    assert len(kinds) > 1
    assert kinds <= {kind for _, kind in UNSUPPORTED}
    for key, reason in Config.refused_keys.items():
        with pytest.raises(ConfigError, match=re.escape(reason)):
            load_text(f"{key}: {{}}", REGISTRY, {})


def test_what_is_not_there_yet_is_not_there() -> None:
    """When one of these kinds arrives, the page has to follow."""
    kinds = [name for name in code(section("pixiu-differences.md", "Not there yet")) if name.startswith("dgp.")]
    there = {entry.kind for entry in REGISTRY}
    assert kinds
    assert [kind for kind in kinds if kind in there] == []
