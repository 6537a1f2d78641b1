"""Prompt cache: what ``dgp.filter.llm.promptcache`` costs, on a request's path and beside it. Only this gateway has one.

Measured in a process of its own, on one exchange after the other as they come from a connection: CPU time of the calls that a
request, a chunk and a classification are made of, each the median of many.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
import uvloop
from aiohttp.streams import EMPTY_PAYLOAD
from multidict import CIMultiDict

from benchmarks.bench import Bench, Metric, Result, Values
from benchmarks.client import chat_body
from benchmarks.proc import BenchError
from benchmarks.servers import Gateway

TITLE = "Prompt-cache accounting"
METRICS = (
    Metric("request_us", "CPU on the path of a request without markers, 1 KB up and down (limit 15)", "µs"),
    Metric("inactive_us", "the same with a key that is nobody's", "µs"),
    Metric("chunk_us", "per chunk of a stream without usage (limit 1)", "µs", digits=2),
    Metric("null_chunk_us", 'per chunk with `"usage":null` (limit 1)', "µs", digits=2),
    Metric("classify_ms", "CPU beside the path: 100 KB, 4 markers, warm SQLite index (limit 2)", "ms", digits=2),
    Metric("strip_ms", "taking the markers out of those 100 KB", "ms", digits=2),
)
MODEL = "m"
KEY = "sk-alice"
ANSWER = orjson.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 180}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 200, "completion_tokens": 180, "total_tokens": 380},
    }
)
CHUNK = {"id": "c", "choices": [{"index": 0, "delta": {"content": " word"}, "finish_reason": None}]}


def run(bench: Bench) -> Result:
    result = Result("promptcache", TITLE, METRICS)
    ours = [contender for contender in bench.contenders if isinstance(contender, Gateway)]
    bench.interleave(result, ours, lambda _: _in_its_own_process(bench))
    return result


def _in_its_own_process(bench: Bench) -> Values:
    count = bench.pick(5000, 500)
    command = [sys.executable, "-m", __name__, str(bench.folder), str(count)]
    run = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, timeout=120)
    if run.returncode:
        raise BenchError(run.stderr.decode(errors="replace")[-500:])
    values: Values = orjson.loads(run.stdout)
    return values


# --- in that process -------------------------------------------------------------------------------------------------


@lru_cache
def head(key: str) -> Any:
    """The head of requests with this key, which comes again and again on a connection."""
    from pixiu_py.http.received import received

    fields = (
        (b"Host", b"gateway.example"),
        (b"Authorization", b"Bearer " + key.encode()),
        (b"Content-Type", b"application/json"),
        (b"Accept-Encoding", b"gzip, deflate"),
    )
    return received(fields, CIMultiDict([(name.decode(), value.decode()) for name, value in fields]))


def exchange(body: bytes, key: str) -> Any:
    """A request as the connection manager would hand it over."""
    from pixiu_py.http.body import RequestBody
    from pixiu_py.http.exchange import Exchange, Request

    content = RequestBody(EMPTY_PAYLOAD, len(body), content=body)
    return Exchange(Request("POST", "/v1/chat/completions", head(key).headers(), content), 0.0)


async def make_filter(folder: Path) -> Any:
    """The filter, started, on a new SQLite index."""
    from pixiu_py.clusters.manager import ClusterManager
    from pixiu_py.config.types import Secret
    from pixiu_py.filters.base import Context
    from pixiu_py.filters.llm.promptcache.config import PromptCacheConfig
    from pixiu_py.filters.llm.promptcache.filter import PromptCache
    from pixiu_py.filters.llm.promptcache.principals import PrincipalConfig
    from pixiu_py.plugins import build_registry
    from pixiu_py.stores.ledger.tariff import Tariff
    from pixiu_py.stores.promptcache.base import IndexRef
    from pixiu_py.stores.promptcache.sqlite import SqliteIndex
    from pixiu_py.tasks import Tasks

    registry = build_registry(None)
    context = Context(ClusterManager(), registry, Tasks("bench"), time.monotonic, random.Random(0))
    path = str(folder / f"promptcache-{time.monotonic_ns()}.db")
    config = PromptCacheConfig(
        index=IndexRef(name="sqlite", config=SqliteIndex.Config(path=path)),
        principals=[PrincipalConfig(key=Secret(KEY), principal="alice")],
        tariffs=[Tariff(model=MODEL)],
    )
    made = PromptCache(config, context)
    await made.start()
    return made


async def through(made: Any, body: bytes, key: str, answer: bytes = ANSWER) -> float:
    """One request through the filter's hooks; CPU seconds that they took."""
    from pixiu_py.http.exchange import Response
    from pixiu_py.http.headers import Headers

    subject = exchange(body, key)
    response = Response(200, Headers([(b"Content-Type", b"application/json")]), answer)
    began = time.thread_time()
    await made.decode(subject)
    subject.response = response
    await made.encode(subject)
    subject.end_reason = "complete"
    made.done(subject)
    return time.thread_time() - began


def marked_body() -> bytes:
    """100 KB in 200 parts, four of them marked."""
    parts: list[dict[str, Any]] = [
        {"type": "text", "text": f"part {number} " + "lorem ipsum " * 39} for number in range(200)
    ]
    for number in (20, 60, 120, 199):
        parts[number]["cache_control"] = {"type": "ephemeral"}
    messages = [{"role": "user", "content": parts[at : at + 20]} for at in range(0, 200, 20)]
    return orjson.dumps({"model": MODEL, "messages": messages})


async def classification(made: Any, count: int) -> list[float]:
    """CPU seconds of the whole process for each classification: the index works in a thread of its own."""
    body = marked_body()
    answer = orjson.dumps({"usage": {"prompt_tokens": 10**6}})
    seconds = []
    for number in range(count + 1):
        subject = exchange(body, KEY)
        await made.decode(subject)
        account = subject.params["promptcache.account"]
        began = time.process_time()
        await account.join(10)
        if number:
            seconds.append(time.process_time() - began)
            if account.outcome.name != "read":
                raise BenchError(f"the index is not warm: {account.outcome.name}")
        await through(made, body, KEY, answer)
        await made._commits.settled(account.outcome.scope)
        account.drop()
    return seconds


def chunks(chunk: bytes, count: int) -> float:
    """CPU seconds of a chunk."""
    from pixiu_py.filters.llm.promptcache.account import Account
    from pixiu_py.filters.llm.promptcache.blocks import CHAT
    from pixiu_py.filters.llm.promptcache.events import EventSink

    class Nowhere:
        def write(self, chunk: bytes) -> bool:
            return True

    sink = EventSink(Nowhere(), Account(CHAT, {}, "alice", MODEL), 2**20, 5.0, None)  # type: ignore[arg-type]
    began = time.thread_time()
    for _ in range(count):
        sink.write(chunk)
    return (time.thread_time() - began) / count


async def measure(folder: Path, count: int) -> Values:
    """Everything, once."""
    from pixiu_py.filters.llm.promptcache.blocks import CHAT
    from pixiu_py.filters.llm.promptcache.outgoing import outgoing

    made = await make_filter(folder)
    body = orjson.dumps({**orjson.loads(chat_body()), "model": MODEL})
    known = statistics.median([await through(made, body, KEY) for _ in range(count)])
    unknown = statistics.median([await through(made, body, "sk-nobody") for _ in range(count)])
    classified = statistics.median(await classification(made, max(count // 50, 10)))
    await made.close()
    marked = marked_body()
    began = time.thread_time()
    for _ in range(20):
        outgoing(CHAT, marked, markers=True, telemetry=None, include_usage=False)
    stripped = (time.thread_time() - began) / 20
    return {
        "request_us": known * 1e6,
        "inactive_us": unknown * 1e6,
        "chunk_us": chunks(b"data: %b\n\n" % orjson.dumps(CHUNK), count * 10) * 1e6,
        "null_chunk_us": chunks(b"data: %b\n\n" % orjson.dumps({**CHUNK, "usage": None}), count * 10) * 1e6,
        "classify_ms": classified * 1e3,
        "strip_ms": stripped * 1e3,
    }


if __name__ == "__main__":
    _, where, how_many = sys.argv
    sys.stdout.buffer.write(orjson.dumps(uvloop.run(measure(Path(where), int(how_many)))))
