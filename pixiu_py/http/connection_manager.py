"""``dgp.filter.httpconnectionmanager``: the way of one request, on one screen. See ``handle``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

import structlog

from pixiu_py.config.model import HttpConnectionManagerConfig, HttpServerConfig, Route
from pixiu_py.errors import (
    ClientGone,
    DownstreamError,
    GatewayError,
    HeadersTooLarge,
    MethodNotAllowed,
    NoRoute,
    PixiuError,
    StartError,
)
from pixiu_py.filters.base import Context, HttpFilter
from pixiu_py.filters.chain import NOT_OURS, FilterChain
from pixiu_py.http.body import RequestBody
from pixiu_py.http.connection import MAX_FIELD, RawRequest
from pixiu_py.http.exchange import Exchange, Request, Response
from pixiu_py.http.known_head import LONGEST_RECOGNISED
from pixiu_py.http.local_reply import error_reply, local_reply
from pixiu_py.http.request_id import request_id
from pixiu_py.http.writer import ResponseWriter
from pixiu_py.registry import Family, plugin
from pixiu_py.routing.table import CompiledRoute, RouteTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pixiu_py.config.types import HttpFilterRef
    from pixiu_py.http.request_head import RequestHead

log = structlog.get_logger("pixiu_py.http")

_NO_FILTERS = FilterChain(())


@plugin(Family.NETWORK_FILTER, "dgp.filter.httpconnectionmanager")
class HttpConnectionManager:
    """Routes requests and runs their filter chains."""

    Config: ClassVar[type[HttpConnectionManagerConfig]] = HttpConnectionManagerConfig

    def __init__(
        self, config: HttpConnectionManagerConfig, server: HttpServerConfig, context: Context, listener: str = ""
    ) -> None:
        self._config = config
        self._server = server
        self._context = context
        self._listener = listener
        self._filters: list[HttpFilter] = []
        default = self._chain(config.http_filters)
        self._routes: RouteTable[FilterChain] = RouteTable(
            [(route, self._chain_of(route, default)) for route in config.route_config.routes]
        )
        #: Set when the listener ends: each response then closes its connection.
        self.draining = False

    # --- life ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the filters, in order. Raises ``StartError``."""
        for filter_ in self._filters:
            try:
                await filter_.start()
            except PixiuError:
                raise
            except Exception as error:
                raise _cannot(type(filter_), "start", error) from error

    async def close(self) -> None:
        """Close the filters, in reverse; one that fails does not keep the others from closing."""
        for filter_ in reversed(self._filters):
            try:
                await filter_.close()
            except Exception:
                log.exception("filter failed to close", filter=type(filter_).__name__)

    def _chain_of(self, route: Route, default: FilterChain) -> FilterChain:
        return default if route.http_filters is None else self._chain(route.http_filters)

    def _chain(self, refs: Sequence[HttpFilterRef]) -> FilterChain:
        filters = []
        for ref in refs:
            entry = self._context.registry.find(Family.HTTP_FILTER, ref.name)
            if entry is None:
                raise LookupError(f"unknown http filter {ref.name}")  # the config check has refused it before
            try:
                filters.append(entry.cls(ref.config, self._context))
            except PixiuError:
                raise
            except Exception as error:
                raise _cannot(entry.cls, "be built", error) from error
        self._filters.extend(filters)
        return FilterChain(filters)

    # --- a request -------------------------------------------------------------------------------------------------

    async def handle(self, raw: RawRequest) -> bool:
        """One request, end to end: route → decode → encode → write → done. True: the connection may go on."""
        exchange = self._open(raw)
        keep_alive = raw.head.keeps_alive and not self.draining
        writer = ResponseWriter(raw.protocol, exchange, self._server.write_timeout, keep_alive)
        chain = _NO_FILTERS
        try:
            try:
                table = self._routes
                model = await _model(exchange.request) if table.needs_model(exchange.request) else ""
                chain = self._route(exchange, raw.head, model)
                response = await chain.decode(exchange)
                if response is None:
                    raise GatewayError("no filter answered")
            except GatewayError as error:
                response = self._failed(exchange, error)
            except NOT_OURS:
                raise
            except BaseException:
                log.exception("filter failed in decode", request_id=exchange.request_id)
                response = self._failed(exchange, GatewayError())
            exchange.response = response
            if chain.awaits_encode:
                await self._encode(chain, exchange)
            elif chain.encodes:
                self._encode_now(chain, exchange)
            if self.draining or (exchange.request.body.send_continue is not None and not raw.payload.is_eof()):
                writer.keep_alive = False  # draining, or nobody can tell whether the client will still send its body
            await writer.send(exchange.response, chain)
            exchange.end_reason = exchange.end_reason or "complete"
        except asyncio.CancelledError as error:
            self._broken(exchange, writer, error)
            raise
        except Exception as error:  # noqa: BLE001 - the last edge of an exchange: whatever it was, only this one fails
            self._broken(exchange, writer, error)
        finally:
            await self._close(exchange, chain)
        return writer.keep_alive and writer.finished and not self.draining

    def _open(self, raw: RawRequest) -> Exchange:
        head = raw.head
        protocol = raw.protocol
        send_continue = protocol.send_continue if head.expects else None
        body = RequestBody(raw.payload, head.length, self._server.read_timeout, send_continue, raw.content)
        request = Request(head.method, head.target, head.fields.headers(), body)
        request.version = head.version
        request.scheme = protocol.scheme
        request.client_address = protocol.client_address
        request.upgrade = head.upgrade
        exchange = Exchange(request, self._context.clock(), self._listener)
        exchange.connection = protocol
        if self._config.generate_request_id:
            exchange.request_id = request_id(request.headers)
        return exchange

    def _route(self, exchange: Exchange, head: RequestHead, model: str) -> FilterChain:
        table, fields, route = head.route or (None, None, None)
        if route is None or table is not self._routes or not (fields is None or fields is head.fields):
            route = self._find_route(exchange, head, model)
        exchange.route = route
        exchange.cluster = self._context.clusters.get(route.cluster)
        chain: FilterChain = route.payload
        return chain

    def _find_route(self, exchange: Exchange, head: RequestHead, model: str) -> CompiledRoute[FilterChain]:
        request = exchange.request
        if request.method == "CONNECT":
            raise MethodNotAllowed("this is no forward proxy")
        if self._head_too_large(request):
            raise HeadersTooLarge("the request head is too large")
        found = self._routes.match(request, model)
        if found is None:
            raise NoRoute("no route matches the request")
        route, exchange.path_values = found
        if not exchange.path_values and not self._routes.uses_models:
            stays = not self._routes.uses_headers and self._server.max_header_bytes >= LONGEST_RECOGNISED
            head.route = (self._routes, None if stays else head.fields, route)
        return route

    def _head_too_large(self, request: Request) -> bool:
        fields = request.headers.raw
        if len(fields) * MAX_FIELD <= self._server.max_header_bytes:
            return False  # so few cannot be too large together: each is held to MAX_FIELD by the parser
        return sum(len(name) + len(value) + 4 for name, value in fields) > self._server.max_header_bytes

    async def _encode(self, chain: FilterChain, exchange: Exchange) -> None:
        try:
            await chain.encode(exchange)
        except NOT_OURS:
            raise
        except BaseException as error:  # noqa: BLE001 - a fault in a filter: this request fails, no other does
            self._failed_in_encode(exchange, error)

    def _encode_now(self, chain: FilterChain, exchange: Exchange) -> None:
        try:
            chain.encode_now(exchange)
        except NOT_OURS:
            raise
        except BaseException as error:  # noqa: BLE001 - as above
            self._failed_in_encode(exchange, error)

    def _failed_in_encode(self, exchange: Exchange, error: BaseException) -> None:
        log.error("filter failed in encode", request_id=exchange.request_id, exc_info=error)
        _abandon(exchange.response)
        exchange.error = error
        exchange.end_reason = GatewayError.kind
        exchange.response = local_reply(500)

    def _failed(self, exchange: Exchange, error: GatewayError) -> Response:
        exchange.error = error
        exchange.end_reason = error.kind
        return error_reply(error)

    def _broken(self, exchange: Exchange, writer: ResponseWriter, error: BaseException) -> None:
        """The response could not be sent whole: whoever is still there must be able to tell."""
        exchange.error = error
        if not isinstance(error, (GatewayError, asyncio.CancelledError)):
            log.error("response failed", request_id=exchange.request_id, exc_info=error)
        exchange.end_reason = self._end_reason(exchange, error)
        _abandon(exchange.response)
        if writer.finished:
            return
        if not writer.started:
            exchange.status = 0
            if not isinstance(error, (ClientGone, asyncio.CancelledError)) and _sent_instead(writer, error):
                return
        writer.abort()

    def _end_reason(self, exchange: Exchange, error: BaseException) -> str:
        if not isinstance(error, (ClientGone, asyncio.CancelledError)):
            return getattr(error, "kind", "internal_error")
        still_there = exchange.connection is not None and exchange.connection.transport is not None
        return "shutdown" if self.draining and still_there else "client_gone"

    async def _close(self, exchange: Exchange, chain: FilterChain) -> None:
        context = self._context
        try:
            if chain.awaits_done:
                # On its own task, so that a second cancellation cannot stop the filters from hearing the end.
                await asyncio.shield(context.tasks.spawn(chain.done(exchange), "done"))
            else:
                chain.done_now(exchange)
        finally:
            if context.traffic is not None:
                context.traffic.count(exchange)
            if context.access_log is not None:
                context.access_log.write(exchange)
            # A body may know its exchange, and the exchange its body; an error knows every frame that it went through. Left
            # alone, every request would be a cycle for the garbage collector, which then takes a tenth of the time.
            exchange.error = None
            exchange.response = None


def _cannot(cls: type[HttpFilter], what: str, error: Exception) -> StartError:
    """For a fault in a filter: where it is stands in the log, that it is one in the error."""
    log.error(f"filter cannot {what}", filter=cls.__name__, exc_info=error)
    return StartError(f"filter {cls.__name__} cannot {what}: {type(error).__name__}: {error}")


def _abandon(response: Response | None) -> None:
    try:
        if response is not None and not isinstance(response.body, bytes):
            response.body.abort()
    except Exception:  # a filter's own body, or something that is none: the client has to be told all the same
        log.exception("response cannot be let go of")


def _sent_instead(writer: ResponseWriter, error: BaseException) -> bool:
    """Tell a client that has seen nothing yet what went wrong; False when it has gone."""
    try:
        writer.send_instead(error_reply(error) if isinstance(error, GatewayError) else local_reply(500))
    except ClientGone:
        return False
    return True


async def _model(request: Request) -> str:
    """The ``model`` of a JSON body, or an empty string."""
    try:
        document = await request.json()
    except DownstreamError as error:
        if error.status != 400:
            raise
        return ""
    model = document.get("model") if isinstance(document, dict) else None
    return model if isinstance(model, str) else ""
