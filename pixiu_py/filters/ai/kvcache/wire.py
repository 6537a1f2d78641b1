"""HTTP calls to engines and cache controllers: always a time limit, always a size limit, one kind of error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
from aiohttp import (
    ClientConnectionError,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
    ThreadedResolver,
)

from pixiu_py.errors import PixiuError

#: Bytes of an answer. The tokens of a prompt of a million tokens take about 7 MB.
MAX_ANSWER = 32 * 2**20
#: Characters of an error's detail that are kept for the log.
_SHOWN = 200


class CallFailed(PixiuError):
    """A call came to nothing; ``status`` is 0 without one.

    ``kind`` is ``connect`` (it never arrived), ``reset``, ``timeout``, ``status`` or ``answer`` (not to be understood).
    """

    def __init__(self, kind: str, detail: str, status: int = 0) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.status = status

    @property
    def may_pass(self) -> bool:
        """True when another try may help, for a question that changes nothing."""
        return self.kind in ("connect", "reset", "timeout")


class Options(NamedTuple):
    """How a service is called: fields to send, and how its certificate is looked at."""

    headers: Mapping[str, str] = {}
    verify: bool = True
    #: Name in the certificate, when it is not the URL's.
    server_name: str = ""


PLAIN = Options()


class Wire:
    """One pool of connections. ``per_host`` and ``total`` are most connections; 0: no limit.

    ``idle`` seconds are less than the five after which the engines' servers close a connection themselves: a call must not
    go into one that is being closed.
    """

    def __init__(self, *, total: int = 100, per_host: int = 0, idle: float = 4.0) -> None:
        self._total = total
        self._per_host = per_host
        self._idle = idle
        self._session: ClientSession | None = None

    async def start(self) -> None:
        """Make the pool; opens no connection."""
        connector = TCPConnector(
            limit=self._total,
            limit_per_host=self._per_host,
            keepalive_timeout=self._idle,
            resolver=ThreadedResolver(),  # names are few and kept; the other one leaves sockets open for a while
        )
        self._session = ClientSession(connector=connector, cookie_jar=DummyCookieJar(), trust_env=False)

    async def close(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def post(self, url: str, document: Any, timeout: float, options: Options = PLAIN) -> Any:
        """POST ``document`` as JSON; the answer's JSON. Raises ``CallFailed``."""
        data = document if isinstance(document, bytes) else orjson.dumps(document)
        return _parsed(await self._call("POST", url, data, timeout, options))

    async def get(self, url: str, timeout: float, options: Options = PLAIN) -> bytes:
        """GET; the answer's bytes. Raises ``CallFailed``."""
        return await self._call("GET", url, None, timeout, options)

    async def _call(self, method: str, url: str, data: bytes | None, timeout: float, options: Options) -> bytes:
        if self._session is None:
            raise CallFailed("connect", "closed")
        fields = {"Content-Type": "application/json", **options.headers} if data is not None else options.headers
        try:
            async with self._session.request(
                method,
                url,
                data=data,
                headers=fields,
                timeout=ClientTimeout(total=timeout),
                allow_redirects=False,
                ssl=options.verify,
                server_hostname=options.server_name or None,
            ) as response:
                body = await _read(response)
                if not 200 <= response.status < 300:
                    raise CallFailed("status", f"{response.status} {_shown(body)}", response.status)
                return body
        except TimeoutError:
            raise CallFailed("timeout", f"no answer within {timeout:g} s") from None
        except (ClientConnectionError, OSError) as error:
            kind = "connect" if isinstance(error, ClientConnectorError) else "reset"
            raise CallFailed(kind, str(error)[:_SHOWN] or type(error).__name__) from error
        except (ClientError, ValueError) as error:
            raise CallFailed("answer", str(error)[:_SHOWN] or type(error).__name__) from error


async def _read(response: ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER:
            raise CallFailed("answer", f"larger than {MAX_ANSWER} bytes", response.status)
    return b"".join(parts)


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise CallFailed("answer", f"not JSON: {_shown(body)}") from None


def _shown(body: bytes) -> str:
    return body[:_SHOWN].decode("utf-8", "replace")
