"""One request's account: what is told while nothing is known yet, what an answer has earned."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.filters.llm.promptcache.account import Account
from pixiu_py.filters.llm.promptcache.blocks import CHAT, MESSAGES, Api
from pixiu_py.filters.llm.promptcache.classify import Outcome
from pixiu_py.filters.llm.promptcache.usage import Split
from pixiu_py.stores.ledger.cost import Tokens
from tests.fakes.promptcache import chat, mark, text, user

KNOWN = Outcome(Split(5, 3))


def account(api: Api = CHAT, **fields: Any) -> Account:
    made = Account(api, {}, "alice", "m")
    made.is_active = True
    for name, value in fields.items():
        setattr(made, name, value)
    return made


async def classified(outcome: Outcome = KNOWN) -> asyncio.Task[Outcome]:
    async def classify() -> Outcome:
        return outcome

    task = asyncio.get_running_loop().create_task(classify())
    await task
    return task


def never() -> asyncio.Task[Outcome]:
    async def classify() -> Outcome:
        await asyncio.Event().wait()
        return KNOWN

    return asyncio.get_running_loop().create_task(classify())


async def test_without_markers_everything_is_zero() -> None:
    it = account()
    assert it.is_decided
    assert it.outcome.skipped == "no_markers"
    said = it.tell({"prompt_tokens": 9})
    assert said is not None
    assert (said["cache_read_input_tokens"], said["cache_creation_input_tokens"]) == (0, 0)


async def test_what_is_known_is_told() -> None:
    it = account(task=await classified())
    said = it.tell({"prompt_tokens": 9, "completion_tokens": 2})
    assert said is not None
    assert (said["cache_read_input_tokens"], said["cache_creation_input_tokens"]) == (5, 3)
    assert it.tokens == Tokens(9, 2, 5, 3)


async def test_what_is_late_is_cancelled_and_told_as_zeros() -> None:
    it = account(task=never())
    assert not it.is_decided
    await it.join(0.001)
    assert it.is_decided
    assert it.outcome == Outcome(skipped="deadline", degraded=True)
    assert it.task is not None
    with pytest.raises(asyncio.CancelledError):
        await it.task


async def test_a_classification_that_fails_is_told_as_zeros() -> None:
    async def fail() -> Outcome:
        raise RuntimeError

    it = account(task=asyncio.get_running_loop().create_task(fail()))
    await it.join(5)
    assert it.outcome == Outcome(skipped="error", degraded=True)


async def test_one_that_was_refused_is_told_as_zeros() -> None:
    assert account(is_refused=True).outcome == Outcome(skipped="busy", degraded=True)


async def test_who_leaves_leaves_no_task() -> None:
    it = account(task=never())
    it.drop()
    assert it.task is not None
    with pytest.raises(asyncio.CancelledError):
        await it.task


async def test_an_anthropic_stream_is_added_up() -> None:
    """The first event counts the input, the last one the output."""
    it = account(MESSAGES, task=await classified())
    first = it.tell({"input_tokens": 9, "output_tokens": 1})
    last = it.tell({"output_tokens": 7})
    assert first is not None
    assert last is not None
    assert (first["input_tokens"], last["input_tokens"], last["output_tokens"]) == (1, 1, 7)
    assert it.tokens == Tokens(9, 7, 5, 3)


async def test_an_endpoint_with_a_cache_of_its_own_may_keep_its_word() -> None:
    usage = {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}}
    it = account(task=await classified(), keeps_foreign=True)
    assert it.tell(usage) is None
    assert it.tokens == Tokens(9, 0, 4)
    assert it.tell({"prompt_tokens": 9}) is not None, "it says nothing: ours is told"
    assert it.tokens == Tokens(9, 0, 5, 3)


async def test_an_inactive_answer_is_counted_and_scrubbed_only_if_asked_for() -> None:
    usage = {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}}
    assert account(is_active=False).tell(usage) is None
    it = account(is_active=False, scrubs=True)
    assert it.tell(usage) == {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 0}}
    assert it.tokens == Tokens(9)


@pytest.mark.parametrize(
    ("fields", "veto"),
    [
        ({"saw_usage": True, "complete": True}, ""),
        ({"saw_usage": True}, "incomplete"),
        ({"complete": True}, "no_usage"),
        ({"saw_usage": True, "complete": True, "failed": True}, "error_frame"),
    ],
)
def test_what_earns_a_commit(fields: dict[str, Any], veto: str) -> None:
    assert account(**fields).veto() == veto


# --- on the way out --------------------------------------------------------------------------------------------------


def endpoint(cache_control: str) -> Endpoint:
    made = Endpoint("main", "e", "127.0.0.1", 1)
    made.cache_control = cache_control
    return made


def test_markers_go_to_endpoints_that_know_them_and_to_no_other() -> None:
    body = orjson.dumps(chat(user(text("a", "")), cache_control=mark()))
    it = account(marked=True)
    assert it.edit(body, endpoint("keep"), "m") is body
    assert orjson.loads(it.edit(body, endpoint("strip"), "m")) == chat(user(text("a")))
    assert it.edit(body, endpoint("strip"), "m") is it.edit(body, endpoint("strip"), "m"), "made once for one body"
    assert it.edit(body, endpoint("keep"), "m") is body


def test_a_stream_is_asked_for_its_usage_wherever_it_goes() -> None:
    it = account(asks_usage=True, document=chat(stream=True))
    for kind in ("keep", "strip"):
        assert orjson.loads(it.edit(b'{"stream":true}', endpoint(kind), "m"))["stream_options"] == {
            "include_usage": True
        }
    assert it.hides_usage


def test_nothing_to_change_changes_nothing() -> None:
    body = b"{}"
    assert account().edit(body, endpoint("strip"), "m") is body


@pytest.mark.parametrize(
    ("document", "hidden"),
    [({"choices": [], "usage": {}}, True), ({"choices": [{}], "usage": {}}, False), ({"usage": {}}, False)],
)
def test_the_frame_we_asked_for_is_hidden_and_no_other(document: dict[str, Any], hidden: bool) -> None:
    assert account(hides_usage=True).is_hidden(document) is hidden
    assert not account().is_hidden(document)
