"""Changes header fields of requests and responses. Without config it does nothing, which is all that Pixiu's does."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from pixiu_py.config.types import Model, doc
from pixiu_py.filters.base import Context, HttpFilter
from pixiu_py.filters.http.fields import check_fields
from pixiu_py.http.exchange import Exchange
from pixiu_py.http.headers import Headers
from pixiu_py.registry import Family, plugin


class HeaderChanges(Model, frozen=True):
    """What to do to one message's fields: first remove, then set, then add."""

    remove: Annotated[list[str], doc("Fields to drop.")] = []
    set: Annotated[dict[str, str], doc("Fields that replace any of the same name.")] = {}
    add: Annotated[dict[str, str], doc("Fields added to any of the same name.")] = {}

    def __post_init__(self) -> None:
        check_fields([*((name, "") for name in self.remove), *self.set.items(), *self.add.items()])

    def apply(self, headers: Headers) -> None:
        """Change ``headers`` in place."""
        if self.remove:
            headers.remove(*self.remove)
        for name, value in self.set.items():
            headers.set(name, value)
        for name, value in self.add.items():
            headers.add(name, value)


class HeaderConfig(Model, frozen=True):
    """Config of ``dgp.filter.http.header``."""

    request: Annotated[HeaderChanges, doc("Changes to the request, before it goes upstream.")] = field(
        default_factory=HeaderChanges
    )
    response: Annotated[HeaderChanges, doc("Changes to the response, local replies included.")] = field(
        default_factory=HeaderChanges
    )


@plugin(Family.HTTP_FILTER, "dgp.filter.http.header")
class Header(HttpFilter):
    """Sets, adds and removes header fields of requests and responses."""

    Config = HeaderConfig

    def __init__(self, config: HeaderConfig, context: Context) -> None:
        super().__init__(config, context)
        self._request = config.request
        self._response = config.response

    def decode(self, exchange: Exchange) -> None:
        """Change the request."""
        self._request.apply(exchange.request.headers)

    def encode(self, exchange: Exchange) -> None:
        """Change the response."""
        if exchange.response is not None:
            self._response.apply(exchange.response.headers)
