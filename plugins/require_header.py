"""A request filter: refuses requests that do not carry a header.

http_filters:
  - name: example.filter.requireheader
    config: {header: x-team, values: [red, blue]}
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from pixiu_py.config.types import Model, doc
from pixiu_py.filters.base import HttpFilter
from pixiu_py.http.exchange import Exchange, Response
from pixiu_py.http.headers import Headers
from pixiu_py.http.local_reply import local_reply
from pixiu_py.registry import Family, plugin


class RequireHeaderConfig(Model, frozen=True):
    """Which header, and what it may say."""

    header: Annotated[str, Meta(min_length=1, description="Name of the header; case does not matter.")]
    values: Annotated[list[str], doc("Any of these values; empty: any value will do.")] = []


@plugin(Family.HTTP_FILTER, "example.filter.requireheader")
class RequireHeader(HttpFilter):
    """Answers 401 unless the request has the configured header."""

    Config = RequireHeaderConfig

    def decode(self, exchange: Exchange) -> Response | None:
        """Refuse, or let the request go on."""
        value = exchange.request.headers.get(self.config.header)
        if value and (not self.config.values or value in self.config.values):
            return None
        # A 401 has to say what would satisfy it (RFC 9110 §15.5.2).
        challenge = Headers.of({"WWW-Authenticate": self.config.header})
        return local_reply(401, f"this needs a valid {self.config.header} header", challenge)
