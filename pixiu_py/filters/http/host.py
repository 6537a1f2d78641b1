"""Chooses the Host that the endpoint sees."""

from __future__ import annotations

import re
from typing import Annotated

from pixiu_py.config.types import Model, doc
from pixiu_py.filters.base import HttpFilter
from pixiu_py.filters.proxy import UPSTREAM_HOST
from pixiu_py.http.exchange import Exchange
from pixiu_py.registry import Family, plugin

_HOST = re.compile(r"(?:\[[0-9A-Fa-f]*:[0-9A-Fa-f:.]*\]|[^\s/@\[\]:]+)(?::\d{1,5})?")


class HostConfig(Model, frozen=True):
    """Config of ``dgp.filter.http.host``."""

    host: Annotated[str, doc("Host to send upstream, with a port if it needs one.")]

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host):
            raise ValueError(f"Expected host or host:port, got {self.host!r}")


@plugin(Family.HTTP_FILTER, "dgp.filter.http.host")
class Host(HttpFilter):
    """Sets the Host header of the upstream request."""

    Config = HostConfig

    def decode(self, exchange: Exchange) -> None:
        """Tell the proxy what to send. The request keeps the client's Host, for X-Forwarded-Host."""
        exchange.params[UPSTREAM_HOST] = self.config.host
