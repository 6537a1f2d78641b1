"""Every registered kind, the drop-in folder included, with a configuration of it that is valid.

A kind that is not in ``SAMPLES`` fails ``tests/conformance/test_kinds.py``: add it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from pixiu_py.config.decode import Decoder
from pixiu_py.config.load import load_text
from pixiu_py.config.node import from_plain
from pixiu_py.config.report import Report
from pixiu_py.config.types import Empty
from pixiu_py.errors import ConfigError, Problem
from pixiu_py.filters.http.csrf import make_token
from pixiu_py.plugins import build_registry
from pixiu_py.registry import Entry, Family, Registry
from tests.fakes.conf import Block, conf, endpoint, http_filter

PLUGINS = Path(__file__).parents[2] / "plugins"


def registry() -> Registry:
    """The built-in plugins and those of the drop-in folder."""
    return build_registry(PLUGINS)


REGISTRY = registry()
ENTRIES = tuple(REGISTRY)
FILTERS = tuple(entry for entry in ENTRIES if entry.family is Family.HTTP_FILTER)


def of(family: Family) -> list[Entry]:
    """The entries of one family."""
    return [entry for entry in ENTRIES if entry.family is family]


def name(entry: Entry) -> str:
    """An entry as the id of a test."""
    return entry.kind


@dataclass(frozen=True)
class Sample:
    """How a kind can be configured."""

    #: The smallest valid block.
    config: Block = field(default_factory=dict)
    #: One with which it has something to do for every request; absent: the smallest one does.
    busy: Block | None = None
    #: Request fields with which a request passes a filter in its smallest configuration.
    passes: Mapping[str, str] = field(default_factory=dict)
    #: A block that can be read, and with which ``start`` fails.
    fails: Block | None = None

    @property
    def working(self) -> Block:
        """The configuration with something to do."""
        return self.config if self.busy is None else self.busy


def _token(secret: bytes) -> str:
    """A JSON Web Token without claims, signed with HS256."""
    parts = [base64.urlsafe_b64encode(part).rstrip(b"=") for part in (b'{"alg":"HS256"}', b"{}")]
    signature = hmac.digest(secret, b".".join(parts), hashlib.sha256)
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


_SECRET = b"a secret of thirty-two bytes ..."
_JWKS = orjson.dumps({"keys": [{"kty": "oct", "k": base64.urlsafe_b64encode(_SECRET).decode()}]}).decode()
_JWT = {
    "rules": [{"match": {"prefix": "/"}, "requires": {"requires_any": {"provider_name": "p"}}}],
    "providers": [{"name": "p", "local_jwks": {"inline_string": _JWKS}}],
}
_EVERYTHING = [{"name": "all", "items": [{"matchStrategy": 1, "pattern": "."}]}]
_BREAKER = {"resource": "all", "strategy": "error_count", "threshold": 1, "retryTimeoutMs": 60_000}
_FLOW = {"resource": "all", "threshold": 1, "statIntervalInMs": 60_000}
_ROUTER = {
    "default_model": "mock-small",
    "model_aliases": {"fast": {"target": "mock-small"}},
    "routing_preferences": [{"name": "code", "description": "program code", "models": ["mock-big", "mock-small"]}],
    "deciders": [{"type": "rules", "rules": [{"route": "code", "keywords": ["code"]}]}],
}
_CHANGES = {"remove": ["x-gone"], "set": {"x-set": "1"}, "add": {"x-added": "2"}}

#: Kind of an HTTP filter → its samples.
SAMPLES: dict[str, Sample] = {
    "dgp.filter.ai.kvcache": Sample(
        busy={"enabled": True, "index": {"type": "prefix"}, "load": {"interval": 0}, "route_header": "always"}
    ),
    "dgp.filter.http.accesslog": Sample(fails={"outPutPath": "/no/such/folder/access.log"}),
    "dgp.filter.http.auth.jwt": Sample(_JWT, passes={"Authorization": f"Bearer {_token(_SECRET)}"}),
    "dgp.filter.http.authority": Sample(
        busy={"authority_rules": [{"items": ["127.0.0.0/8"]}, {"limit": 1, "strategy": 1, "items": ["admin"]}]}
    ),
    "dgp.filter.http.circuitbreaker": Sample(busy={"resources": _EVERYTHING, "rules": [_BREAKER]}),
    "dgp.filter.http.cors": Sample(
        busy={"allow_origin": ["https://a.example", "*"], "allow_methods": "*", "allow_headers": "*", "max_age": 5}
    ),
    "dgp.filter.http.csrf": Sample(
        {"key": "token", "secret": "s"},
        passes={"csrfSalt": "salt", "token": make_token("pixiu", b"s", b"salt").decode()},
    ),
    "dgp.filter.http.faultinjection": Sample(
        busy={"fail_inject_rules": {"/": {"type": "abort", "trigger_type": "always", "body": "no"}}}
    ),
    "dgp.filter.http.header": Sample(busy={"request": _CHANGES, "response": _CHANGES}),
    "dgp.filter.http.host": Sample({"host": "internal.example"}),
    "dgp.filter.http.httpproxy": Sample(),
    "dgp.filter.http.metric": Sample(),
    "dgp.filter.http.prometheusmetric": Sample(),
    "dgp.filter.http.proxyrewrite": Sample(busy={"uri_regex": ["^/(.*)$", "/new/$1"], "headers": {"x-new": "1"}}),
    "dgp.filter.http.ratelimit": Sample(
        busy={"resources": _EVERYTHING, "rules": [{"enable": True, "flowRule": _FLOW}]}
    ),
    "dgp.filter.http.traffic": Sample(
        busy={"traffics": [{"name": "main", "router": "/", "canary-weight": 50}]},
        fails={"traffics": [{"name": "nowhere", "router": "/", "canary-weight": 50}]},
    ),
    "dgp.filter.llm.mock": Sample(busy={"label": "m", "response_headers": {"x-mock": "1"}}),
    "dgp.filter.llm.promptcache": Sample(
        busy={
            "index": {"type": "memory"},
            "principals": [{"key": "mine", "principal": "alice"}],
            "tariffs": [{"model": "mock-small", "min_prefix_tokens": 0}],
            "scrub_inactive": True,
            "max_document": 64,
            "max_event": 1024,
        },
        fails={"index": {"type": "memory"}, "tokenizer": {"type": "file", "path": "/no/such/tokenizer.json"}},
    ),
    "dgp.filter.llm.proxy": Sample(),
    "dgp.filter.llm.router": Sample(busy=_ROUTER),
    "dgp.filter.llm.tokenizer": Sample(busy={"max_document": 64, "max_event": 1024, "max_decoded": 256}),
    "example.filter.redact": Sample({"words": ["fox"]}, busy={"words": ["fo", "fox", "data", "\u00e4"]}),
    "example.filter.requireheader": Sample({"header": "x-team"}, passes={"x-team": "red"}),
}


def decoded(entry: Entry, config: Block) -> Any:
    """The config model of a plugin, read as from a file."""
    report = Report("conf.yaml")
    model = Decoder(REGISTRY, report).decode(from_plain(config, (1, 1)), getattr(entry.cls, "Config", Empty), "")
    assert not report.problems, report.problems
    return model


def problems_of(text: str) -> list[Problem]:
    """What is wrong with a configuration."""
    try:
        load_text(text, REGISTRY, {})
    except ConfigError as error:
        return error.problems
    return []


def filters_with(entry: Entry, config: Block) -> list[Block]:
    """A chain with this filter: alone if it answers every request, else before a mock model."""
    block = http_filter(entry.kind, **config)
    return [block] if entry.cls.terminal else [block, http_filter("dgp.filter.llm.mock")]


def document_with(entry: Entry, config: Block, kind: str | None = None) -> str:
    """A whole configuration that uses a plugin, under its own kind or another name, with this block."""
    used = kind or entry.kind
    chain = [http_filter("dgp.filter.llm.mock")]
    family = entry.family
    if family is Family.HTTP_FILTER:
        blocks = filters_with(entry, config)
        blocks[0]["name"] = used
        return conf(filters=blocks)
    if family is Family.KV_INDEX:
        index = {"type": used, **config}
        kvcache = http_filter("dgp.filter.ai.kvcache", lmcache_endpoint="http://127.0.0.1:1", index=index)
        return conf(filters=[kvcache, *chain])
    if family is Family.RETRY_POLICY:
        return conf(endpoint(1, retry={"name": used, "config": config}), filters=chain)
    if family is Family.NETWORK_FILTER:
        manager = {"route_config": {"routes": [{"match": {"prefix": "/"}, "route": {}}]}, "http_filters": chain}
        return conf(
            filters=[], listener={"filter_chains": {"filters": [{"name": used, "config": {**manager, **config}}]}}
        )
    if family is Family.LISTENER:
        return conf(filters=chain, listener={"protocol_type": used, **config})
    key = {Family.CLUSTER: "type", Family.LOAD_BALANCER: "lb_policy"}[family]
    return conf(filters=chain, cluster={key: used, **config})
