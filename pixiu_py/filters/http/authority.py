"""Allows and denies by the client's address or by application."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pixiu_py.config.types import Model, doc
from pixiu_py.filters.base import Context, HttpFilter
from pixiu_py.http.client_address import Address, Networks, client_address
from pixiu_py.http.exchange import Exchange, Request, Response
from pixiu_py.http.local_reply import local_reply
from pixiu_py.registry import Family, plugin

#: Pixiu writes strategies and limits as numbers.
ALLOW: Final = 0
IP: Final = 0


class AuthorityRule(Model, frozen=True):
    """One list. A request must pass every one."""

    strategy: Annotated[Literal[0, 1], doc("0: only what is listed passes; 1: what is listed does not.")] = ALLOW
    limit: Annotated[Literal[0, 1], doc("0: the client's IP address; 1: the application, the first path segment.")] = IP
    items: Annotated[list[str], doc("Addresses, also in CIDR form, or application names.")] = []

    def __post_init__(self) -> None:
        if self.limit == IP:
            Networks(self.items)


class AuthorityConfig(Model, frozen=True):
    """Config of ``dgp.filter.http.authority``."""

    authority_rules: Annotated[list[AuthorityRule], doc("Lists, all of which must let the request pass.")] = []
    trusted_proxies: Annotated[
        list[str], doc("Addresses or networks of proxies whose X-Forwarded-For is believed.")
    ] = []

    def __post_init__(self) -> None:
        Networks(self.trusted_proxies)


@plugin(Family.HTTP_FILTER, "dgp.filter.http.authority")
class Authority(HttpFilter):
    """Lets requests pass, or not, by client address or application."""

    Config = AuthorityConfig

    def __init__(self, config: AuthorityConfig, context: Context) -> None:
        super().__init__(config, context)
        self._trusted = Networks(config.trusted_proxies)
        rules = config.authority_rules
        self._by_address = [(rule.strategy, Networks(rule.items)) for rule in rules if rule.limit == IP]
        self._by_app = [(rule.strategy, frozenset(rule.items)) for rule in rules if rule.limit != IP]

    def decode(self, exchange: Exchange) -> Response | None:
        """Refuse with 403 what a rule does not let pass."""
        request = exchange.request
        address = self._address(request) if self._by_address else None
        app = application(request) if self._by_app else ""
        passes = all(_passes(strategy, address in items) for strategy, items in self._by_address) and all(
            _passes(strategy, app in names) for strategy, names in self._by_app
        )
        return None if passes else local_reply(403)

    def _address(self, request: Request) -> Address | None:
        forwarded = request.headers.getall("x-forwarded-for") if self._trusted else []
        return client_address(request.client_address, forwarded, self._trusted)


def application(request: Request) -> str:
    """The first segment of the path: ``shop`` for ``/shop/items``."""
    return request.decoded_path.lstrip("/").partition("/")[0]


def _passes(strategy: int, listed: bool) -> bool:
    return listed if strategy == ALLOW else not listed
