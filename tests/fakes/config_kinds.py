"""A small registry for configuration tests: its kinds, and so the messages that list them, never change."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from msgspec import Meta

from pixiu_py.clusters.balancers import rand, round_robin
from pixiu_py.clusters.discovery import static
from pixiu_py.config.load import Loaded, load_text
from pixiu_py.config.model import HttpConnectionManagerConfig
from pixiu_py.config.types import Duration, Model, Secret, Size, doc
from pixiu_py.errors import ConfigError
from pixiu_py.filters.base import HttpFilter
from pixiu_py.listeners.base import Listener
from pixiu_py.registry import Family, Registry, plugin
from pixiu_py.upstream import retry


@plugin(Family.LISTENER, "HTTP")
class Http(Listener):
    """A listener."""


@plugin(Family.LISTENER, "HTTPS")
class Https(Listener):
    """A listener with TLS."""


@plugin(Family.NETWORK_FILTER, "dgp.filter.httpconnectionmanager")
class Manager:
    """A network filter."""

    Config = HttpConnectionManagerConfig


class ProxyConfig(Model, frozen=True):
    """Config of the proxy, which checks itself."""

    scheme: str = "http"
    timeout: Annotated[Duration, doc("Total time.")] = 0.0
    body: Annotated[Size, doc("Largest body.")] = 1024

    def __post_init__(self) -> None:
        if self.scheme not in ("http", "https"):
            raise ValueError(f"scheme must be http or https, not {self.scheme}")


@plugin(Family.HTTP_FILTER, "dgp.filter.llm.proxy", aliases=("old.llm.proxy",))
class Proxy(HttpFilter):
    """A filter that answers."""

    Config = ProxyConfig
    terminal = True


@plugin(Family.HTTP_FILTER, "dgp.filter.http.httpproxy")
class HttpProxy(HttpFilter):
    """Another filter that answers."""

    terminal = True


class TokensConfig(Model, frozen=True, kw_only=True):
    """Config with a required key."""

    ratio: Annotated[float, Meta(ge=0, le=1)] = 0.5
    key: Secret


@plugin(Family.HTTP_FILTER, "dgp.filter.llm.tokenizer")
class Tokenizer(HttpFilter):
    """A filter that only looks."""

    Config = TokensConfig


@plugin(Family.HTTP_FILTER, "dgp.filter.ai.kvcache")
class KvCache(HttpFilter):
    """A filter without keys."""


@plugin(Family.ADAPTER, "test.adapter")
class Adapter:
    """Brings clusters that the file does not name."""


def small_registry() -> Registry:
    """A fresh registry with the kinds above, static clusters, two balancers and the retry policies."""
    registry = Registry()
    for module in (sys.modules[__name__], static, rand, round_robin, retry):
        registry.add_module(module)
    return registry


def load(text: str, **options: Any) -> Loaded:
    """Load text with the small registry and an empty environment. Raises ``ConfigError``."""
    return load_text(text, small_registry(), options.pop("environ", {}), **options)


def problems(text: str, **options: Any) -> list[str]:
    """``path: message`` of every problem in ``text``; empty when it loads."""
    try:
        load(text, **options)
    except ConfigError as error:
        return [f"{problem.path}: {problem.message}".removeprefix(": ") for problem in error.problems]
    return []
