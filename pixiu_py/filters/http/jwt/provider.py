"""A provider at run time: finds its token in a request, and accepts it or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import orjson

from pixiu_py.filters.http.jwt.claims import Expected, InvalidToken, NoKeys, NoToken, UnknownKey, check
from pixiu_py.filters.http.jwt.keys import KeySet
from pixiu_py.filters.http.jwt.remote import RemoteKeys

if TYPE_CHECKING:
    from pixiu_py.filters.http.jwt.model import Provider as ProviderConfig
    from pixiu_py.http.headers import Headers


class Accepted(NamedTuple):
    """A token that was accepted. ``payload``: its claims as they stand in it, base64url of JSON."""

    provider: Provider
    payload: str

    def rewrite(self, headers: Headers) -> None:
        """Let the endpoint see what it is meant to: the claims, and not the token."""
        config = self.provider.config
        if not config.forward:
            headers.remove(config.from_headers.name)
        if config.forward_payload_header:
            headers.set(config.forward_payload_header, self.payload)


class Provider:
    """One issuer of tokens."""

    def __init__(self, config: ProviderConfig) -> None:
        self.config = config
        self._expected = Expected(config.issuer, frozenset(config.audiences), config.leeway)
        self._local: KeySet | None = None
        self._remote: RemoteKeys | None = None
        if config.local_jwks is not None:
            self._local = KeySet(config.local_jwks.inline_string.reveal(), shared_secrets=True)
        if config.remote_jwks is not None:
            self._remote = RemoteKeys(config.name, config.remote_jwks.http_uri)

    async def start(self) -> None:
        """Fetch the keys, if they are to be fetched."""
        if self._remote is not None:
            await self._remote.start()

    async def close(self) -> None:
        """Fetch no more."""
        if self._remote is not None:
            await self._remote.close()

    def accept(self, headers: Headers, now: float) -> Accepted:
        """Accept the token in ``headers`` at ``now``, seconds since 1970, or raise a ``TokenError``."""
        token = self._token(headers)
        keys = self._local or (self._remote.keys if self._remote is not None else None)
        if keys is None:
            raise NoKeys("the keys of the token's issuer are not available")
        try:
            payload = keys.payload(token)
        except UnknownKey:
            if self._remote is not None:
                self._remote.missed()
            raise
        try:
            claims = orjson.loads(payload)
        except orjson.JSONDecodeError:
            raise InvalidToken("the token has no claims") from None
        check(claims, self._expected, now)
        return Accepted(self, token.split(".")[1].rstrip("="))

    def _token(self, headers: Headers) -> str:
        place = self.config.from_headers
        values = headers.getall(place.name)
        if not values:
            raise NoToken("there is no token")
        if len(values) > 1:  # which of them would others believe?
            raise InvalidToken("there is more than one token")
        prefix, value = place.value_prefix, values[0]
        if value[: len(prefix)].lower() != prefix.lower():
            raise NoToken("there is no token")
        return value[len(prefix) :].strip()
