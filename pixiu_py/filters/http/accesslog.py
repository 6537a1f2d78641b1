"""Pixiu's access log filter: the exchanges of one chain, in a file of their own.

The lines are those of the gateway's own access log, and so is the writer. Where both would write to the same place this
filter stays silent, so that a ``conf.yaml`` from Pixiu does not log every exchange twice.
"""

from __future__ import annotations

from typing import Annotated

from pixiu_py.config.model import AccessLog as AccessLogSettings
from pixiu_py.config.types import Duration, Model, Size, doc
from pixiu_py.filters.base import Context, HttpFilter
from pixiu_py.http.exchange import Exchange
from pixiu_py.observability.access_log import AccessLog
from pixiu_py.registry import Family, plugin


class AccessLogConfig(Model, frozen=True):
    """Config of ``dgp.filter.http.accesslog``."""

    outPutPath: Annotated[str, doc("File to append to; console is standard output.")] = "console"  # noqa: N815
    buffer_size: Annotated[Size, doc("Bytes held before a write.")] = 65536
    flush_interval: Annotated[Duration, doc("Longest time a line is held.")] = 0.2


@plugin(Family.HTTP_FILTER, "dgp.filter.http.accesslog")
class AccessLogFilter(HttpFilter):
    """Writes one line per exchange, after its last byte."""

    Config = AccessLogConfig

    def __init__(self, config: AccessLogConfig, context: Context) -> None:
        super().__init__(config, context)
        path = "-" if config.outPutPath in ("", "console") else config.outPutPath
        settings = AccessLogSettings(path=path, buffer_size=config.buffer_size, flush_interval=config.flush_interval)
        taken = context.access_log is not None and context.access_log.path == path
        self._log = None if taken else AccessLog(settings)

    async def start(self) -> None:
        """Open the file. Raises ``StartError``."""
        if self._log is not None:
            self._log.start()

    async def close(self) -> None:
        """Write what is left and close the file."""
        if self._log is not None:
            await self._log.close()

    def done(self, exchange: Exchange) -> None:
        """Take one line."""
        if self._log is not None:
            self._log.write(exchange)
