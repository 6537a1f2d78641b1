"""A gateway that accounts for cached prompts, before a model that only pretends; and what its clients and its books say."""

from __future__ import annotations

import json
from typing import Any

from pixiu_py.stores.ledger.base import Ledger, UsageQuery
from tests.fakes.client import Client, Reply, chat_body, request
from tests.fakes.conf import Block, conf, http_filter

#: Long enough for the floor of ``accounting``, and to be told apart by what comes before it.
TAIL = " and so on, for as many words as it takes to be worth an entry in the cache"


def accounting(
    index: Block, ledger: Block | None = None, *, mock: Block | None = None, port: int = 0, **more: Any
) -> str:
    """The configuration of such a gateway; ``more``: keys of the filter. Workers share a port only if it is given."""
    block = {
        "index": index,
        **({"ledger": ledger} if ledger is not None else {}),
        "principals": [{"key": "sk-alice", "principal": "alice"}],
        "tariffs": [{"model": "m", "min_prefix_tokens": 8, "input_price": 10, "output_price": 30}],
        **more,
    }
    filters = [
        http_filter("dgp.filter.llm.promptcache", **block),
        http_filter("dgp.filter.llm.mock", models=["m"], **(mock or {})),
    ]
    address = {"socket_address": {"address": "127.0.0.1", "port": port}}
    return conf(filters=filters, listener={"address": address}, top={"metric": {"enable": True, "prometheus_port": 0}})


def question(prompt: str, request_id: str = "", *, stream: bool = False) -> bytes:
    """The bytes of a request with a marked prompt of alice's."""
    headers = {"authorization": "Bearer sk-alice", **({"x-request-id": request_id} if request_id else {})}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": prompt + TAIL, "cache_control": {"type": "ephemeral"}}]}
    ]
    return request("POST", "/v1/chat/completions", headers, chat_body(stream=stream, messages=messages))


async def ask(client: Client, prompt: str, request_id: str = "") -> Reply:
    """The answer to it."""
    await client.send(question(prompt, request_id))
    return await client.read_response("POST")


def usage_of(reply: Reply) -> dict[str, Any]:
    """What an answer that is no stream says of its tokens."""
    usage: dict[str, Any] = json.loads(reply.body)["usage"]
    return usage


def was_read(reply: Reply) -> bool:
    """True when some of the prompt was in the cache."""
    return bool(usage_of(reply)["cache_read_input_tokens"])


def counter(page: str, name: str, **labels: str) -> float:
    """The sum of a metric's series that have these labels."""
    total = 0.0
    for line in page.splitlines():
        series, _, value = line.rpartition(" ")
        if series.partition("{")[0] == name and all(f'{key}="{text}"' in series for key, text in labels.items()):
            total += float(value)
    return total


async def requests_in(ledger: Ledger) -> int:
    """How many records there are."""
    sums = await ledger.usage(UsageQuery())
    return sums[0].requests if sums else 0
