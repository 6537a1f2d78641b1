"""Lets requests pass that carry the tokens their path requires; the tokens go no further."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

from pixiu_py.filters.base import Context, HttpFilter
from pixiu_py.filters.http.jwt.claims import NoKeys, NoToken, TokenError
from pixiu_py.filters.http.jwt.model import JwtConfig, Requires
from pixiu_py.http.exchange import Exchange, Response
from pixiu_py.http.headers import Headers
from pixiu_py.http.local_reply import local_reply
from pixiu_py.registry import Family, plugin

if TYPE_CHECKING:
    from pixiu_py.filters.http.jwt.provider import Accepted, Provider

_CHALLENGE: Final = 'Bearer realm="pixiu-py"'
_SLASHES: Final = re.compile(r"[/\\]+")


@plugin(Family.HTTP_FILTER, "dgp.filter.http.auth.jwt")
class Jwt(HttpFilter):
    """Answers 401 to requests without a valid JSON Web Token."""

    Config = JwtConfig

    def __init__(self, config: JwtConfig, context: Context) -> None:
        super().__init__(config, context)
        from pixiu_py.filters.http.jwt.provider import Provider  # needs PyJWT, which the config has checked for

        self._providers: dict[str, Provider] = {given.name: Provider(given) for given in config.providers}
        #: Segments of a prefix and what they require, longest first.
        self._rules = sorted(
            ((segments(rule.match.prefix), rule.requires) for rule in config.rules),
            key=lambda rule: -len(rule[0]),
        )
        self._reserved = [name for given in config.providers if (name := given.forward_payload_header)]

    async def start(self) -> None:
        """Fetch the keys that are to be fetched."""
        for provider in self._providers.values():
            await provider.start()

    async def close(self) -> None:
        """Fetch no more."""
        for provider in self._providers.values():
            await provider.close()

    def decode(self, exchange: Exchange) -> Response | None:
        """Refuse, or let the request go on without its tokens."""
        headers = exchange.request.headers
        if self._reserved:
            headers.remove(*self._reserved)
        try:
            accepted = [token for requires in self._required(exchange) for token in self._accept(requires, headers)]
        except TokenError as error:
            return self._refusal(error)
        for token in accepted:
            token.rewrite(headers)
        return None

    def _required(self, exchange: Exchange) -> list[Requires]:
        """What the path requires: as it is written, and as an endpoint that resolves its dots would read it."""
        path = exchange.request.decoded_path
        found = [self._rule_of(segments(path)), self._rule_of(resolved(path))]
        return [requires for position, requires in enumerate(found) if requires and requires not in found[:position]]

    def _rule_of(self, path: list[str]) -> Requires | None:
        return next((requires for prefix, requires in self._rules if path[: len(prefix)] == prefix), None)

    def _accept(self, requires: Requires, headers: Headers) -> list[Accepted]:
        """A token for each provider of ``requires_all``, and for one of ``requires_any``. Raises ``TokenError``."""
        now = time.time()
        accepted = [self._providers[name].accept(headers, now) for name in requires.all_of]
        errors: list[TokenError] = []
        for name in requires.any_of:
            try:
                return [*accepted, self._providers[name].accept(headers, now)]
            except TokenError as error:
                errors.append(error)
        if errors:
            raise max(errors, key=lambda error: error.rank)
        return accepted

    def _refusal(self, error: TokenError) -> Response:
        """401 with a challenge (RFC 6750 §3), or 503 when nobody could tell."""
        if isinstance(error, NoKeys):
            return local_reply(503, str(error))
        reason = "" if isinstance(error, NoToken) else f', error="invalid_token", error_description="{error}"'
        return local_reply(401, self.config.err_msg, Headers.of({"WWW-Authenticate": _CHALLENGE + reason}))


def segments(path: str) -> list[str]:
    """``/a/b/`` → a, b; the root has none."""
    return path.strip("/").split("/") if path.strip("/") else []


def resolved(path: str) -> list[str]:
    """The segments that are left of a path without empty ones, parameters, ``.`` and ``..`` (RFC 3986 §5.2.4)."""
    left: list[str] = []
    for part in _SLASHES.split(path):
        segment = part.partition(";")[0]
        if segment == "..":
            del left[-1:]
        elif segment not in ("", "."):
            left.append(segment)
    return left
