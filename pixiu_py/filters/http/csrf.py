"""CSRF tokens: a request must show that its sender holds a token made from the shared secret and the request's salt."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Annotated, Literal
from urllib.parse import parse_qs

import structlog

from pixiu_py.config.types import Model, Secret, Size, doc
from pixiu_py.filters.base import Context, HttpFilter
from pixiu_py.http.exchange import Exchange, Request, Response
from pixiu_py.http.headers import encode
from pixiu_py.http.local_reply import local_reply
from pixiu_py.registry import Family, plugin

log = structlog.get_logger("pixiu_py.filters.csrf")

SALT_HEADER = "csrfSalt"
#: Pixiu hands the secret to the endpoint in this header. We never send it, and never let a client forge it.
SECRET_HEADER = "csrfSecret"  # noqa: S105 - the name of a header
FORM = "application/x-www-form-urlencoded"


class CsrfConfig(Model, frozen=True):
    """Config of ``dgp.filter.http.csrf``."""

    key: Annotated[str, doc("Name of the token: a query parameter, header or form field.")]
    secret: Annotated[Secret, doc("Shared with whoever makes the tokens.")]
    error_msg: Annotated[str, doc("`error` of the 403.")] = "missing or wrong CSRF token"
    ignore_methods: Annotated[list[str], doc("Methods that need no token, such as GET and HEAD.")] = []
    scheme: Annotated[
        Literal["pixiu", "hmac-sha256"], doc("How a token is made; hmac-sha256 does not give the secret away.")
    ] = "pixiu"
    max_form_bytes: Annotated[Size, doc("Largest form that is searched for the token; 413 above.")] = 2**20

    def __post_init__(self) -> None:
        if not self.key or not self.secret:
            raise ValueError("key and secret must not be empty")


@plugin(Family.HTTP_FILTER, "dgp.filter.http.csrf")
class Csrf(HttpFilter):
    """Refuses requests without a valid CSRF token."""

    Config = CsrfConfig

    def __init__(self, config: CsrfConfig, context: Context) -> None:
        super().__init__(config, context)
        self._ignored = frozenset(method.upper() for method in config.ignore_methods)
        self._secret = encode(config.secret.reveal())

    async def start(self) -> None:
        """Say once what the compatible scheme gives away."""
        if self.config.scheme == "pixiu":
            log.warning("csrf tokens of the pixiu scheme contain the secret; prefer scheme: hmac-sha256")

    async def decode(self, exchange: Exchange) -> Response | None:
        """Let the request pass if its token fits its salt."""
        request = exchange.request
        if SECRET_HEADER in request.headers:
            request.headers.remove(SECRET_HEADER)
        if request.method in self._ignored:
            return None
        salt = request.headers.get(SALT_HEADER)
        if salt:
            given = await self._given(request)
            if hmac.compare_digest(encode(given), make_token(self.config.scheme, self._secret, encode(salt))):
                return None
        return local_reply(403, self.config.error_msg)

    async def _given(self, request: Request) -> str:
        key: str = self.config.key
        in_query = parse_qs(request.query).get(key) if request.query else None
        if in_query:
            return in_query[0]
        in_header = request.headers.get(key)
        if in_header:
            return in_header
        if (request.headers.get("content-type") or "").partition(";")[0].strip().lower() != FORM:
            return ""
        form = await request.content(self.config.max_form_bytes)
        return parse_qs(form.decode("utf-8", "replace")).get(key, [""])[0]


def make_token(scheme: str, secret: bytes, salt: bytes) -> bytes:
    """The token for a salt.

    ``pixiu``: URL-safe base64 of ``salt-secret``, which anybody can decode. ``hmac-sha256``: URL-safe base64 of
    HMAC-SHA256(secret, salt), with padding.
    """
    if scheme == "hmac-sha256":
        return base64.urlsafe_b64encode(hmac.digest(secret, salt, hashlib.sha256))
    return base64.urlsafe_b64encode(salt + b"-" + secret)
