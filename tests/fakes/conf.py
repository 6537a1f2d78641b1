"""Configurations for tests: one good base, changed by keyword."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from tests.fakes.upstream import Upstream

Block = dict[str, Any]


def endpoint(
    where: Upstream | int, name: str = "", *, retry: int | Block = 0, outer: Block | None = None, **llm_meta: Any
) -> Block:
    """One LLM endpoint with this id. ``retry``: a number of retries or a policy; ``outer``: keys beside ``llm_meta``."""
    port = where if isinstance(where, int) else where.port
    if isinstance(retry, int):
        retry = {"name": "CountBased", "config": {"times": retry}} if retry else {"name": "NoRetry"}
    block: Block = {
        "socket_address": {"address": "127.0.0.1", "port": port},
        "llm_meta": {"retry_policy": retry, **llm_meta},
        **(outer or {}),
    }
    return {"id": name, **block} if name else block


def http_filter(kind: str, **config: Any) -> Block:
    """One entry of a filter chain."""
    return {"name": kind, "config": config}


def llm_conf(*endpoints: Block, proxy: Block | None = None, filters: Sequence[Block] = (), **changes: Any) -> str:
    """A gateway with the LLM proxy before these endpoints, tried in config order. See ``conf`` for ``changes``."""
    return conf(*endpoints, filters=[*filters, http_filter("dgp.filter.llm.proxy", **(proxy or {}))], **changes)


def http_conf(*endpoints: Block, proxy: Block | None = None, filters: Sequence[Block] = (), **changes: Any) -> str:
    """A gateway with the plain HTTP proxy before these endpoints. See ``conf`` for ``changes``."""
    plain = [{key: value for key, value in block.items() if key != "llm_meta"} for block in endpoints]
    return conf(*plain, filters=[*filters, http_filter("dgp.filter.http.httpproxy", **(proxy or {}))], **changes)


def conf(
    *endpoints: Block,
    filters: Sequence[Block],
    routes: Sequence[Block] | None = None,
    manager: Block | None = None,
    listener: Block | None = None,
    cluster: Block | None = None,
    clusters: Sequence[Block] = (),
    static: Block | None = None,
    top: Block | None = None,
) -> str:
    """One listener, one route, one cluster, as YAML. The other arguments are merged over the block of their name."""
    routes = routes if routes is not None else [{"match": {"prefix": "/"}, "route": {"cluster": "main"}}]
    chain = {"route_config": {"routes": list(routes)}, "http_filters": list(filters), **(manager or {})}
    first = {
        "name": "net/http",
        "protocol_type": "HTTP",
        "address": {"socket_address": {"address": "127.0.0.1", "port": 0}},
        "filter_chains": {"filters": [{"name": "dgp.filter.httpconnectionmanager", "config": chain}]},
        **(listener or {}),
    }
    main = {"name": "main", "lb_policy": "RoundRobin", "endpoints": list(endpoints), **(cluster or {})}
    resources = {"listeners": [first], "clusters": [main, *clusters], **(static or {})}
    return yaml.safe_dump({"static_resources": resources, **(top or {})}, sort_keys=False)
