"""CORS (Fetch standard §3.2): which pages of other origins may call, and read what they get."""

from __future__ import annotations

import re
from typing import Annotated

import structlog

from pixiu_py.config.types import Model, doc
from pixiu_py.filters.base import Context, HttpFilter
from pixiu_py.http.exchange import Exchange, Request, Response
from pixiu_py.http.headers import Headers
from pixiu_py.registry import Family, plugin

log = structlog.get_logger("pixiu_py.filters.cors")

ALLOW_ORIGIN = "Access-Control-Allow-Origin"
ALLOW_CREDENTIALS = "Access-Control-Allow-Credentials"
#: What a browser reads; only this filter says it, whatever the endpoint thinks.
RESPONSE_FIELDS = (
    ALLOW_ORIGIN,
    ALLOW_CREDENTIALS,
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Headers",
    "Access-Control-Expose-Headers",
    "Access-Control-Max-Age",
)

#: The origin as it was when the request came in: a later filter may take the header away.
_ORIGIN = "cors.origin"


_BREAK = re.compile(r"[\r\n\0]")


class CorsConfig(Model, frozen=True):
    """Config of ``dgp.filter.http.cors``."""

    allow_origin: Annotated[list[str], doc("Origins, such as https://app.example.com; * for any.")] = []
    allow_methods: Annotated[str, doc("Methods allowed by a preflight, comma-separated; * for any.")] = ""
    allow_headers: Annotated[str, doc("Request headers allowed by a preflight, comma-separated; * for any.")] = ""
    expose_headers: Annotated[str, doc("Response headers that the page may read, comma-separated.")] = ""
    max_age: Annotated[str | int, doc("Seconds a preflight may be remembered.")] = ""
    allow_credentials: Annotated[bool, doc("Allow cookies and credentials, for origins named in allow_origin.")] = False

    def __post_init__(self) -> None:
        for name in ("allow_methods", "allow_headers", "expose_headers", "max_age"):
            if _BREAK.search(str(getattr(self, name)).strip()):
                raise ValueError(f"{name}: a header field has no line breaks")


@plugin(Family.HTTP_FILTER, "dgp.filter.http.cors")
class Cors(HttpFilter):
    """Answers preflights and adds CORS headers to responses."""

    Config = CorsConfig

    def __init__(self, config: CorsConfig, context: Context) -> None:
        super().__init__(config, context)
        self._named = frozenset(config.allow_origin) - {"*"}
        self._any = "*" in config.allow_origin
        #: Without Vary, a cache would give one origin the answer made for another.
        self._varies = bool(self._named) and (not self._any or config.allow_credentials)

    async def start(self) -> None:
        """Point out entries that no browser can ever send."""
        for origin in self._named:
            if origin != "null" and ("://" not in origin or origin.endswith("/")):
                log.warning("allow_origin entry can never match: write scheme://host[:port]", origin=origin)

    def decode(self, exchange: Exchange) -> Response | None:
        """Remember the origin; answer a preflight."""
        request = exchange.request
        origin = request.headers.get("origin")
        if origin is None:
            return None
        exchange.params[_ORIGIN] = origin
        return Response(204) if _is_preflight(request) else None

    def encode(self, exchange: Exchange) -> None:
        """Put this filter's CORS headers in place of any that the endpoint sent."""
        response = exchange.response
        if response is None:
            return
        headers = response.headers
        if self._varies:
            _vary_on_origin(headers)
        origin = exchange.params.get(_ORIGIN)
        if origin is None:
            return
        headers.remove(*RESPONSE_FIELDS)
        if origin in self._named or self._any:
            self._allow(headers, exchange.request, origin)

    def _allow(self, headers: Headers, request: Request, origin: str) -> None:
        config: CorsConfig = self.config
        named = origin in self._named
        # Credentials are for origins that somebody chose by name; never for whoever asks.
        credentials = named and config.allow_credentials
        headers.add(ALLOW_ORIGIN, "*" if self._any and not credentials else origin)
        if credentials:
            headers.add(ALLOW_CREDENTIALS, "true")
        if _is_preflight(request):
            self._allow_preflight(headers, request)
        elif config.expose_headers:
            headers.add("Access-Control-Expose-Headers", config.expose_headers.strip())

    def _allow_preflight(self, headers: Headers, request: Request) -> None:
        config: CorsConfig = self.config
        methods = _or_requested(config.allow_methods, request, "access-control-request-method")
        allowed = _or_requested(config.allow_headers, request, "access-control-request-headers")
        if methods:
            headers.add("Access-Control-Allow-Methods", methods)
        if allowed:
            headers.add("Access-Control-Allow-Headers", allowed)
        if config.max_age != "":
            headers.add("Access-Control-Max-Age", str(config.max_age).strip())


def _is_preflight(request: Request) -> bool:
    return request.method == "OPTIONS" and "access-control-request-method" in request.headers


def _or_requested(configured: str, request: Request, field: str) -> str:
    # A literal * does not cover Authorization, nor anything at all with credentials; naming what was asked for does.
    configured = configured.strip()  # a YAML block ends in a line break
    return (request.headers.get(field) or "") if configured == "*" else configured


def _vary_on_origin(headers: Headers) -> None:
    listed = {name.strip().lower() for line in headers.getall("vary") for name in line.split(",")}
    if not listed & {"origin", "*"}:
        headers.add("Vary", "Origin")
