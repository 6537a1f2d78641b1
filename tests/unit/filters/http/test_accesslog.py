"""Rules of the access log filter: one line per exchange of its chain, never two."""

from __future__ import annotations

import orjson
import pytest
from fakes.exchange import make_context, make_exchange

from pixiu_py.config.model import AccessLog as AccessLogSettings
from pixiu_py.errors import StartError
from pixiu_py.filters.chain import FilterChain
from pixiu_py.filters.http.accesslog import AccessLogConfig, AccessLogFilter
from pixiu_py.http.exchange import Response
from pixiu_py.observability.access_log import AccessLog


async def log_exchanges(filter_, *targets):
    """Take exchanges through a chain with the filter, from its start to its end."""
    chain = FilterChain([filter_])
    await filter_.start()
    for target in targets:
        exchange = make_exchange(target=target, headers={"Authorization": "Bearer key-1"})
        exchange.response = await chain.decode(exchange) or Response(200)
        exchange.status, exchange.end_reason = 200, "complete"
        await chain.encode(exchange)
        await chain.done(exchange)
    await filter_.close()


async def test_one_line_per_exchange_without_query_header_or_body(tmp_path):
    file = tmp_path / "access.log"
    await log_exchanges(AccessLogFilter(AccessLogConfig(outPutPath=str(file)), make_context()), "/a?token=t1", "/b")
    lines = [orjson.loads(line) for line in file.read_bytes().splitlines()]
    assert [(line["path"], line["status"], line["end"]) for line in lines] == [
        ("/a", 200, "complete"),
        ("/b", 200, "complete"),
    ]
    assert b"t1" not in file.read_bytes()
    assert b"key-1" not in file.read_bytes()


async def test_lines_are_appended(tmp_path):
    file = tmp_path / "access.log"
    for _ in range(2):
        await log_exchanges(AccessLogFilter(AccessLogConfig(outPutPath=str(file)), make_context()), "/a")
    assert len(file.read_bytes().splitlines()) == 2


@pytest.mark.parametrize("path", ["console", ""])
async def test_console_is_standard_output(path, capfd):
    await log_exchanges(AccessLogFilter(AccessLogConfig(outPutPath=path), make_context()), "/a")
    assert orjson.loads(capfd.readouterr().out)["path"] == "/a"


@pytest.mark.parametrize(("own", "lines"), [("-", 0), ("/dev/null", 1)])
async def test_the_gateways_own_log_is_not_doubled(own, lines, capfd):
    context = make_context()
    context.access_log = AccessLog(AccessLogSettings(path=own))
    await log_exchanges(AccessLogFilter(AccessLogConfig(), context), "/a")
    assert len(capfd.readouterr().out.splitlines()) == lines


async def test_a_file_that_cannot_be_opened_stops_the_start(tmp_path):
    filter_ = AccessLogFilter(AccessLogConfig(outPutPath=str(tmp_path / "no" / "folder")), make_context())
    with pytest.raises(StartError, match="access log"):
        await filter_.start()
    await filter_.close()
