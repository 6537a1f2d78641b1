"""Which answers can be changed, and how: documents whole, streams as they come, compressed ones after decompression."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixiu_py.errors import GatewayError
from pixiu_py.filters.llm.dialect import dialect_of
from pixiu_py.filters.llm.promptcache.document import Collected, told_document
from pixiu_py.filters.llm.promptcache.events import EventBody
from pixiu_py.http.inflate import Inflater, UnreadableError
from pixiu_py.http.local_reply import error_reply
from pixiu_py.tasks import Tasks

if TYPE_CHECKING:
    from pixiu_py.filters.llm.promptcache.account import Account
    from pixiu_py.filters.llm.promptcache.config import PromptCacheConfig
    from pixiu_py.filters.llm.promptcache.meters import Meters
    from pixiu_py.http.body import Sink
    from pixiu_py.http.exchange import Exchange, Response

_JSON = ("application/json", "")
_EVENTS = "text/event-stream"


class Answers:
    """Changes answers."""

    def __init__(self, config: PromptCacheConfig, meters: Meters) -> None:
        self._config = config
        self._meters = meters
        self._tasks = Tasks("prompt cache answers", config.max_collecting + 1)

    async def close(self) -> None:
        """End what is still being collected."""
        await self._tasks.close()

    def at_once(self, response: Response, account: Account) -> bool:
        """Do it without waiting, for a document that is here and a classification that is done: the usual case."""
        body = response.body
        if not isinstance(body, bytes) or not account.is_decided:
            return False
        headers = response.headers
        if headers.get("content-type") != _JSON[0] or "content-encoding" in headers:
            return False
        response.body = told_document(account, body)
        return True

    async def account(self, exchange: Exchange, account: Account) -> None:
        """Let the answer of an exchange tell what its account knows, if it is one that can."""
        response = exchange.response
        if response is None:
            return
        media_type = (response.headers.get("content-type") or "").partition(";")[0].strip().lower()
        if media_type == _EVENTS:
            self._events(exchange, response, account)
        elif media_type in _JSON:
            await self._document(exchange, response, account)
        else:
            self._meters.untouched.inc(("media_type",))

    # --- event streams ---------------------------------------------------------------------------------------------

    def _events(self, exchange: Exchange, response: Response, account: Account) -> None:
        config = self._config
        encoding = response.headers.get("content-encoding")
        inflater: Inflater | None = None
        if encoding is not None:
            try:
                inflater = Inflater(encoding, config.max_decoded)
            except UnreadableError as error:
                self._meters.untouched.inc((error.reason,))
                return
            response.headers.remove("content-encoding")
        body = Whole(response.body) if isinstance(response.body, bytes) else response.body
        dialect = dialect_of(exchange.request.path)
        response.body = EventBody(body, account, dialect, config.max_event, config.classify_timeout, inflater)

    # --- documents -------------------------------------------------------------------------------------------------

    async def _document(self, exchange: Exchange, response: Response, account: Account) -> None:
        body = response.body
        if not isinstance(body, bytes):
            limit = self._config.max_document
            if body.length is not None and body.length > limit:
                self._meters.untouched.inc(("too_large",))
                return
            if len(self._tasks) >= self._config.max_collecting:
                self._meters.untouched.inc(("busy",))
                return
            collected = Collected(body, limit, self._tasks)
            try:
                whole = await collected.whole()
            except GatewayError as error:
                exchange.error = error
                exchange.end_reason = error.kind
                exchange.response = error_reply(error)
                return
            if whole is None:
                self._meters.untouched.inc(("too_large",))
                response.body = collected
                return
            body = whole
        response.body = await self._told(response, account, body)

    async def _told(self, response: Response, account: Account, body: bytes) -> bytes:
        encoding = response.headers.get("content-encoding")
        content = body
        if encoding is not None:
            try:
                inflater = Inflater(encoding, self._config.max_decoded)
                content = inflater.feed(body)
                if not inflater.finished:
                    raise UnreadableError("malformed")
            except UnreadableError as error:
                self._meters.untouched.inc((error.reason,))
                return body
        if not account.is_decided and account.is_active and b'"usage"' in content:
            await account.join(self._config.classify_timeout)
        said = told_document(account, content)
        if said is content:
            return body  # as the endpoint sent it, compressed or not
        if encoding is not None:
            response.headers.remove("content-encoding")
        return said


class Whole:
    """Bytes as a body."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.length: int | None = len(content)

    async def pipe(self, sink: Sink) -> None:
        """See ``Body.pipe``."""
        sink.finish(self._content)

    def abort(self) -> None:
        """See ``Body.abort``: there is nothing to let go of."""
