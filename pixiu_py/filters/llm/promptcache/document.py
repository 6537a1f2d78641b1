"""A JSON answer: held until it is whole, then changed in its usage and nowhere else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson

from pixiu_py.errors import GatewayError
from pixiu_py.filters.llm.promptcache.usage import replaced

if TYPE_CHECKING:
    from pixiu_py.filters.llm.promptcache.account import Account
    from pixiu_py.http.body import Body, Sink
    from pixiu_py.tasks import Tasks


def told_document(account: Account, content: bytes) -> bytes:
    """The answer with the split in it. One that is no JSON object, or has no usage, stays as it is."""
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        return content
    if type(document) is not dict:
        return content
    account.complete = True
    account.failed = document.get("error") is not None
    usage = document.get("usage")
    if type(usage) is not dict:
        return content
    said = account.tell(usage)
    return content if said is None else replaced(content, ("usage",), said)


class Collector:
    """A sink that keeps up to ``limit`` bytes, and passes everything on when it turns out to be more."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._parts: list[bytes] = []
        self._sink: Sink | None = None
        self._attached = asyncio.Event()
        #: Set when it is known how it ends: whole, above the limit, or broken.
        self.decided = asyncio.Event()
        self.is_whole = False

    def write(self, chunk: bytes) -> bool:
        """See ``Sink.write``."""
        if self._sink is not None:
            return self._sink.write(chunk)
        self._parts.append(chunk)
        self._size += len(chunk)
        if self._size <= self._limit:
            return True
        self.decided.set()
        return False

    def finish(self, chunk: bytes = b"") -> None:
        """See ``Sink.finish``."""
        if self._sink is not None:
            self._sink.finish(chunk)
            return
        self._parts.append(chunk)
        self.is_whole = True
        self.decided.set()

    async def drain(self) -> None:
        """See ``Sink.drain``. What is above the limit waits for somebody to take it."""
        await self._attached.wait()
        if self._sink is not None:
            await self._sink.drain()

    def flush_head(self) -> None:
        """See ``Sink.flush_head``: there is no head to flush before the decision."""

    def take(self) -> bytes:
        """What has been kept."""
        parts, self._parts = self._parts, []
        return b"".join(parts)

    def attach(self, sink: Sink) -> None:
        """Pass what has been kept, and all that comes, on to ``sink``."""
        self._sink = sink
        if self.is_whole:
            sink.finish(self.take())
        else:
            sink.write(self.take())
        self._attached.set()


class Collected:
    """A body that is being collected. ``whole`` gives it, or None; then it is still there to be piped."""

    def __init__(self, body: Body, limit: int, tasks: Tasks) -> None:
        self._body = body
        self.length = body.length
        self._collector = Collector(limit)
        self._error: GatewayError | None = None
        self._task = tasks.spawn(self._run(), "collect")

    async def _run(self) -> None:
        try:
            await self._body.pipe(self._collector)
        except GatewayError as error:
            self._error = error
        finally:
            self._collector.decided.set()

    async def whole(self) -> bytes | None:
        """Everything, when it is here and not above the limit. Raises the ``GatewayError`` with which it broke off."""
        try:
            await self._collector.decided.wait()
        except BaseException:
            self.abort()
            raise
        if self._error is not None:
            raise self._error
        return self._collector.take() if self._collector.is_whole else None

    async def pipe(self, sink: Sink) -> None:
        """See ``Body.pipe``."""
        self._collector.attach(sink)
        await self._task
        if self._error is not None:
            raise self._error

    def abort(self) -> None:
        """See ``Body.abort``."""
        self._task.cancel()
        self._body.abort()
