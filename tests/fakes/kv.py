"""Prompts, indexes and endpoints for tests of KV-cache routing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from pixiu_py.filters.ai.kvcache.config import KvCacheConfig
from pixiu_py.filters.ai.kvcache.index.prefix import PrefixConfig, PrefixIndex
from pixiu_py.filters.ai.kvcache.prompt import Prompt, prompt_of
from tests.fakes.clusters import cluster_context

CHAT = "/v1/chat/completions"


def prompt(document: dict[str, Any], path: str = CHAT) -> Prompt:
    """The prompt of a body."""
    made = prompt_of(document, document.get("model", "m"), path, orjson.dumps(document))
    assert made is not None
    return made


def chat(*texts: str, **others: Any) -> Prompt:
    """A chat of messages, the user's and the assistant's in turn."""
    roles = ("user", "assistant")
    messages = [{"role": roles[number % 2], "content": text} for number, text in enumerate(texts)]
    return prompt({"model": "m", "messages": messages, **others})


def text(seed: str, size: int) -> str:
    """``size`` bytes of text that begins differently for each seed."""
    return (f"{seed} " * (size // (len(seed) + 1) + 1))[:size]


def prefix_index(clock: Callable[[], float] = lambda: 0.0, **config: Any) -> PrefixIndex:
    """An index of that kind."""
    return PrefixIndex(PrefixConfig(**config), KvCacheConfig(enabled=True), cluster_context(clock=clock))
