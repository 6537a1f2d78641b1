"""Keys of conversations: what differs in any part has another key, and what is the same has the same everywhere."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pixiu_py.filters.llm.router.conversation import Conversation, Message, read_conversation
from pixiu_py.filters.llm.router.session_key import named, recognised

#: Any text that a header or a JSON body can hold, with those that could be taken for separators more often.
TEXTS = st.text(st.characters() | st.sampled_from(":|/\x00\x1f0123456789"), max_size=12)
TENANTS = st.none() | TEXTS


@given(TENANTS, TEXTS, TENANTS, TEXTS)
def test_two_pairs_of_tenant_and_id_never_share_a_key(t1: str | None, i1: str, t2: str | None, i2: str) -> None:
    """Whatever separators stand in them; and no tenant is another one than an empty one."""
    assert (named(t1, i1) == named(t2, i2)) is ((t1, i1) == (t2, i2))


def test_separators_do_not_move() -> None:
    """The pairs that share a key where tenant and id are merely joined."""
    assert named("a:b", "c") != named("a", "b:c")
    assert named("a", "b") != named(None, "a:b") != named("", "a:b")
    assert named("1:a", "") != named("1", "a")


@given(TENANTS, TEXTS)
def test_a_named_conversation_is_never_taken_for_a_recognised_one(tenant: str | None, text: str) -> None:
    """Nobody can name a session so that it meets one without a name."""
    conversation = Conversation(messages=(Message("user", text),))
    assert recognised(tenant, conversation) not in {named(tenant, text), named(tenant, text, conversation)}


def test_keys_are_short_and_tell_nothing() -> None:
    key = named("tenant", "secret" * 100_000)
    assert len(key) == 40
    assert "secret" not in key


def test_another_process_makes_the_same_key() -> None:
    """Two gateways that share a store agree, whatever the seed of their hashes."""
    script = "from pixiu_py.filters.llm.router.session_key import named; print(named('t', 'i'))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == named("t", "i") == "b036a79901e4bea3eff00e0757a16d11a92e4d8e"


# --- recognised ------------------------------------------------------------------------------------------------------


def chat(*messages: dict[str, Any], **more: Any) -> Conversation:
    """A request of the chat API."""
    return read_conversation({"model": "m", "messages": list(messages), **more})


SYSTEM = {"role": "system", "content": "Be brief."}
FIRST = {"role": "user", "content": "Hello"}
GROWN = (SYSTEM, FIRST, {"role": "assistant", "content": "Hi"}, {"role": "user", "content": "More"})
TOOLS = [{"type": "function", "function": {"name": "look_up"}}]


def test_a_conversation_that_grows_stays_the_same() -> None:
    assert recognised("t", chat(SYSTEM, FIRST)) == recognised("t", chat(*GROWN)) is not None


def test_another_beginning_is_another_conversation() -> None:
    """Tenant, system text, tools and the first words of the user count, each by itself."""
    other = {"role": "user", "content": "Bye"}
    keys = {
        recognised("t", chat(SYSTEM, FIRST)),
        recognised("u", chat(SYSTEM, FIRST)),
        recognised(None, chat(SYSTEM, FIRST)),
        recognised("t", chat(FIRST)),
        recognised("t", chat({"role": "system", "content": "Be long."}, FIRST)),
        recognised("t", chat(SYSTEM, FIRST, tools=TOOLS)),
        recognised("t", chat(SYSTEM, other)),
    }
    assert len(keys) == 7


def test_what_has_no_words_of_a_user_is_not_recognised() -> None:
    """An image alone says nothing about which conversation it is."""
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    for conversation in (
        chat(),
        chat(SYSTEM),
        chat({"role": "user", "content": ""}),
        chat({"role": "user", "content": [image]}),
    ):
        assert recognised("t", conversation) is None


def test_the_same_words_are_recognised_in_every_api() -> None:
    """A client may speak another API to the same conversation."""
    anthropic = read_conversation({"model": "m", "system": "Be brief.", "messages": [FIRST]})
    responses = read_conversation({"model": "m", "instructions": "Be brief.", "input": "Hello"})
    assert recognised("t", anthropic) == recognised("t", responses) == recognised("t", chat(SYSTEM, FIRST))


def test_strands_of_a_conversation_are_kept_apart() -> None:
    """A side call under the same name, for another model, text or tools, does not move the main loop's model."""
    main = chat(SYSTEM, FIRST)
    keys = {
        named("t", "i"),
        named("t", "i", main),
        named("t", "i", read_conversation({"model": "small", "messages": [SYSTEM, FIRST]})),
        named("t", "i", chat(FIRST)),
        named("t", "i", chat(SYSTEM, FIRST, tools=TOOLS)),
    }
    assert len(keys) == 5
    assert named("t", "i", main) == named("t", "i", chat(*GROWN))
    small = read_conversation({"model": "small", "messages": [SYSTEM, FIRST]})
    assert recognised("t", main) == recognised("t", small)
    assert recognised("t", main, strands=True) != recognised("t", small, strands=True)
