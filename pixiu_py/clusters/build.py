"""From a configured endpoint to the endpoint at run time.

Pure: no name is resolved and nothing is opened here. ``Template`` is a configured endpoint, checked and completed;
``endpoint_at`` makes an ``Endpoint`` of it once its address is known, and ``take_over`` decides what survives a reload.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import msgspec
import structlog

from pixiu_py.clusters.cooldown import Cooldown
from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.clusters.location import Location, locate
from pixiu_py.clusters.providers import find_provider
from pixiu_py.config.model import Endpoint as EndpointConfig
from pixiu_py.config.model import LlmMeta
from pixiu_py.config.types import RetryPolicyRef, Secret, is_field_name
from pixiu_py.errors import Problem
from pixiu_py.http.headers import HOST, kind_of
from pixiu_py.registry import Family, Registry, did_you_mean
from pixiu_py.upstream.retry import RetryPolicy

log = structlog.get_logger("pixiu_py.clusters")

T = TypeVar("T")

_VISIBLE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Template:
    """A configured endpoint, checked and completed: all that is known of it before its address is.

    Two that compare equal make the same endpoints: that is how a reload finds out what it may leave alone.
    """

    cluster: str
    id: str
    name: str
    location: Location
    config: EndpointConfig
    weight: int = 0
    api_key: Secret | None = None
    auth_header: str = "authorization"
    models: dict[str, str] = field(default_factory=dict)
    retry: RetryPolicy | None = field(default=None, compare=False)  # its config is compared, and its class
    retry_class: type[RetryPolicy] = RetryPolicy


def build_templates(
    cluster: str,
    endpoints: Iterable[EndpointConfig],
    registry: Registry,
    path: str = "",
    problems: list[Problem] | None = None,
) -> list[Template]:
    """The templates of a cluster's endpoints, in order.

    ``path`` is where the list stands in the configuration. Endpoints that cannot be used are left out, each with its
    ``Problem`` added to ``problems``.
    """
    found = problems if problems is not None else []
    configs = list(endpoints)
    ids = endpoint_ids(cluster, configs)
    templates: list[Template] = []
    for index, (config, id_) in enumerate(zip(configs, ids, strict=True)):
        template = _template(cluster, id_, index, config, registry, f"{path}[{index}]", found)
        if template is not None:
            templates.append(_shared(template, templates))
    return templates


def _shared(template: Template, before: list[Template]) -> Template:
    """What a template has in common with the one before it is one object: requests then find it in the processor's cache."""
    if not before:
        return template
    last = before[-1]
    models = last.models if last.models == template.models else template.models
    retry = last.retry if _same_policy(last.retry, template.retry) else template.retry
    return replace(template, models=models, retry=retry)


def _same_policy(one: RetryPolicy | None, other: RetryPolicy | None) -> bool:
    return one is not None and other is not None and type(one) is type(other) and one.config == other.config


def _template(
    cluster: str, id_: str, index: int, config: EndpointConfig, registry: Registry, path: str, problems: list[Problem]
) -> Template | None:
    meta = config.llm_meta or LlmMeta()
    before = len(problems)

    def checked(key: str, make: Callable[[], T]) -> T | None:
        try:
            return make()
        except ValueError as error:
            problems.append(Problem(f"{path}.{key}".rstrip("."), str(error)))
            return None

    location = checked("", lambda: locate(config))
    weight = checked("meta.weight", lambda: weight_of(config.meta.get("weight", 0)))
    api_key = checked("llm_meta.api_key", lambda: _key(meta.api_key))
    auth_header = checked("llm_meta.auth_header", lambda: _auth_header(meta))
    retry = checked("llm_meta.retry_policy", lambda: retry_policy(meta.retry_policy, registry))
    if location is None or len(problems) > before:
        return None
    return Template(
        cluster=cluster,
        id=id_,
        name=config.name or f"endpoint-{index + 1}" + (f"#{meta.provider}" if meta.provider else ""),
        location=location,
        config=config,
        weight=weight or 0,
        api_key=api_key,
        auth_header=auth_header or "",
        models=_models(meta),
        retry=retry,
        retry_class=type(retry) if retry else RetryPolicy,
    )


# --- ids -------------------------------------------------------------------------------------------------------------


def endpoint_ids(cluster: str, endpoints: list[EndpointConfig]) -> list[str]:
    """One id for each endpoint, unique within the cluster.

    An explicit id is kept; one that repeats gets ``-2``, ``-3`` … with a warning; a missing one is derived from what
    the endpoint is, so that it is the same in every process and after every restart.
    """
    wanted = [config.id or generated_id(cluster, config) for config in endpoints]
    reserved = set(wanted)
    seen: set[str] = set()
    ids = []
    for id_ in wanted:
        unique = id_ if id_ not in seen else _next_free(id_, reserved | seen)
        if unique != id_:
            log.warning("endpoint id is taken, renamed", cluster=cluster, id=id_, renamed=unique)
        seen.add(unique)
        ids.append(unique)
    return ids


def _next_free(id_: str, taken: set[str]) -> str:
    number = 2
    while f"{id_}-{number}" in taken:
        number += 1
    return f"{id_}-{number}"


def generated_id(cluster: str, endpoint: EndpointConfig) -> str:
    """The id of an endpoint without one: a digest of cluster, address, provider and key, each behind its length."""
    meta = endpoint.llm_meta or LlmMeta()
    socket = endpoint.socket_address
    address = ""
    if socket is not None:
        address = socket.domains[0] if socket.domains else f"{socket.address}:{socket.port}"
    fields = (cluster, address, meta.provider, meta.api_key.reveal() if meta.api_key else "")
    digest = hashlib.sha256()
    for text in fields:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return f"pixiu-generated-endpoint-{digest.digest()[:8].hex()}"


# --- single settings -------------------------------------------------------------------------------------------------


def weight_of(value: Any) -> int:
    """A weight as YAML or a registry's metadata has it: an integer, or a string of one. Raises ``ValueError``."""
    try:
        weight = int(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else -1
    except ValueError:
        weight = -1
    if weight < 0:
        raise ValueError(f"weight is a whole number of 0 or more, not {value!r}")
    return weight


def retry_policy(reference: RetryPolicyRef, registry: Registry) -> RetryPolicy:
    """The policy that ``reference`` names, whatever the case of its name. Raises ``ValueError``."""
    kinds = registry.kinds(Family.RETRY_POLICY)
    by_folded = {kind.lower(): kind for kind in kinds}
    entry = registry.find(Family.RETRY_POLICY, by_folded.get(reference.name.lower(), reference.name))
    if entry is None:
        raise ValueError(f"unknown retry policy {reference.name!r}{did_you_mean(reference.name, kinds)}")
    config = reference.config
    if not isinstance(config, msgspec.Struct):  # not read from a file
        config = msgspec.convert(config, entry.cls.Config)
    policy: RetryPolicy = entry.cls(config)
    return policy


def _key(key: Secret | None) -> Secret | None:
    text = key.reveal().strip() if key else ""
    if not text:
        return None  # such as an environment variable that is not set
    if not _VISIBLE.fullmatch(text):
        raise ValueError("the key contains white space, control or non-ASCII characters")
    return Secret(text)


def _auth_header(meta: LlmMeta) -> str:
    provider = find_provider(meta.provider)
    name = meta.auth_header or (provider.auth_header if provider else "authorization")
    if not is_field_name(name):
        raise ValueError(f"{name!r} is no name of a header")
    if kind_of(name.encode()) >= HOST:
        raise ValueError(f"{name} says what the message is, and cannot carry a key")
    return name.lower()


def _models(meta: LlmMeta) -> dict[str, str]:
    pairs = [(model, "") if isinstance(model, str) else (model.name, model.upstream) for model in meta.models]
    return {name: upstream or name for name, upstream in pairs}


# --- endpoints -------------------------------------------------------------------------------------------------------


def endpoint_at(template: Template, host: str, port: int, *, many: bool = False) -> Endpoint:
    """The endpoint of ``template`` at an address that was found for it.

    ``many``: the template may stand for several addresses, so the address becomes part of the id; the port only where
    it is not the configured one.
    """
    location = template.location
    endpoint = Endpoint(template.cluster, template.id, host, port)
    if many and (host, port) != (location.host, location.port):
        endpoint.id = f"{template.id}@{host if port == location.port else endpoint.address}"
    config = template.config
    meta = config.llm_meta or LlmMeta()
    endpoint.name = template.name
    endpoint.scheme = location.scheme
    endpoint.host_header = location.host_header
    endpoint.server_name = location.host
    endpoint.path_prefix = location.path_prefix
    endpoint.tls_verify = config.tls_verify
    endpoint.weight = template.weight
    endpoint.meta = config.meta
    endpoint.settings = template
    endpoint.provider = meta.provider
    endpoint.api_key = template.api_key
    endpoint.auth_header = template.auth_header
    endpoint.client_auth = meta.client_auth
    endpoint.cache_control = meta.cache_control or _by_provider(meta.provider)
    endpoint.models = template.models
    endpoint.fallback = meta.fallback
    endpoint.retry = template.retry
    endpoint.cooldown = Cooldown(meta.health_check_interval / 1000, meta.failure_threshold)
    endpoint.key = (template.cluster, endpoint.id, endpoint.address, _digest(template.api_key))
    return endpoint


def _by_provider(name: str) -> str:
    provider = find_provider(name)
    return "keep" if provider is not None and provider.reads_markers else "strip"


def _digest(key: Secret | None) -> str:
    return hashlib.sha256(key.reveal().encode()).hexdigest() if key else ""


def take_over(old: Endpoint | None, new: Endpoint, *, checked: bool) -> Endpoint:
    """Which object stands for an endpoint from now on: the old one where nothing about it has changed, so that its
    connections and counts go on; else the new one, with what was held against the old.

    Neither is changed in a way that the old one's users could notice: a reload may still be called off. ``checked``
    tells whether health checks run; without them nobody would ever clear an old verdict.
    """
    if old is None or old.key != new.key:
        return new
    if old.settings == new.settings and not old.removed and (old.healthy or checked):
        return old
    new.healthy = old.healthy or not checked
    new.cooldown.resting_until = old.cooldown.resting_until
    if new.cooldown.seconds:
        new.cooldown.failures = old.cooldown.failures
        new.cooldown.until = old.cooldown.until
        new.cooldown.reason = old.cooldown.reason
    return new
