"""LMCache's coordinator (the multi-process mode): a directory of which cache server holds which chunk.

Shapes as LMCache 0.5.6 speaks them. What to know about its answers:

- One result per whole chunk, in order; an instance's prefix ends with the first chunk that does not name it.
- ``model_name`` is the path that the engine was started with (``--model``), not the name under which it serves. With a
  wrong one the answer is a success in which nothing is found.
- An instance is a cache server; several engines may hang on one.
- A chunk's size is an option of the coordinator, and the gateway has to be told when it is not 256.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pixiu_py.filters.ai.kvcache.controller import Held
from pixiu_py.upstream.client import CallFailed, Client, base_at


class Coordinator:
    """One coordinator. Every call raises ``CallFailed``; ``timeout`` is in seconds, ``model`` the engine's path."""

    def __init__(self, client: Client, base: str, *, chunk: int = 256, world_size: int = 1) -> None:
        self._client = client
        self._service = base_at(base)
        self._chunk = chunk
        self._world_size = world_size

    async def lookup(self, tokens: Sequence[int], model: str, timeout: float, salt: str = "") -> dict[str, Held]:
        """Instance → what it holds of these tokens. Less than a chunk is not asked for."""
        if len(tokens) < self._chunk:
            return {}
        document = self._about(tokens, model, salt)
        return leading(await self._client.ask(self._service, "/directory/lookup", document, timeout), self._chunk)

    async def pin(self, tokens: Sequence[int], model: str, timeout: float, salt: str = "") -> int:
        """Keep these tokens' chunks from being evicted; returns how many tokens that concerned."""
        return await self._operate("/cache/pins", self._about(tokens, model, salt), timeout)

    async def delete(self, tokens: Sequence[int], model: str, instance: str, timeout: float, salt: str = "") -> int:
        """Drop these tokens' chunks from a cache server's memory; returns how many tokens went."""
        document = {**self._about(tokens, model, salt), "instance_id": instance, "tier": "l1"}
        return await self._operate("/cache/delete", document, timeout)

    async def _operate(self, path: str, document: dict[str, Any], timeout: float) -> int:
        answer = await self._client.ask(self._service, path, document, timeout, again=False)
        return _affected(answer) * self._chunk

    def _about(self, tokens: Sequence[int], model: str, salt: str) -> dict[str, Any]:
        document = {"token_ids": list(tokens), "model_name": model, "world_size": self._world_size}
        return {**document, "cache_salt": salt} if salt else document


def leading(answer: Any, chunk: int) -> dict[str, Held]:
    """What an answer of ``/directory/lookup`` says: for each instance the chunks from the first on, without a hole.

    Raises ``CallFailed`` for what is no such answer.
    """
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list):
        raise CallFailed("answer", "a directory lookup without results")
    found: dict[str, Held] = {}
    for number, result in enumerate(results):
        placed = _placed(result)
        still = (
            placed if not number else {name: at for name, at in placed.items() if _reaches(found, name, number * chunk)}
        )
        if not still:
            break
        found.update((name, Held((number + 1) * chunk, at)) for name, at in still.items())
    return found


def _reaches(found: dict[str, Held], name: str, tokens: int) -> bool:
    return name in found and found[name].tokens == tokens


def _placed(result: Any) -> dict[str, str]:
    """Instance → tier of one chunk."""
    placements = result.get("placements") if isinstance(result, dict) else None
    if not isinstance(placements, list):
        raise CallFailed("answer", "a directory lookup whose results have no placements")
    placed: dict[str, str] = {}
    for placement in placements:
        name = placement.get("instance_id") if isinstance(placement, dict) else None
        if not isinstance(name, str):
            raise CallFailed("answer", "a placement without instance_id")
        placed.setdefault(name, str(placement.get("tier", "")))
    return placed


def _affected(answer: Any) -> int:
    number = answer.get("affected") if isinstance(answer, dict) else None
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise CallFailed("answer", "an operation that does not tell what it affected")
    return number


def model_roots(answer: Any) -> dict[str, str]:
    """Served name → path of the model, from an engine's ``/v1/models``; empty when it does not tell."""
    models = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(models, list):
        return {}
    return {
        model["id"]: model["root"]
        for model in models
        if isinstance(model, dict) and isinstance(model.get("id"), str) and isinstance(model.get("root"), str)
    }
