"""What a store keeps of a conversation, and its JSON. Pure.

The names are Plano's. Mode ``pin`` needs the first two fields; the rest is for mode ``budget``, and is left out of the
JSON while it says nothing. A field that is missing has its default, one that is not known is left alone: gateways of
different versions can share a store.
"""

from __future__ import annotations

import math

from msgspec import DecodeError, Struct
from msgspec.json import Decoder, Encoder

#: Of how many models it is remembered that they have seen the conversation.
MOST_VISITS = 8


class Visit(Struct, frozen=True):
    """A model that has answered in this conversation, so that its prompt cache may hold it."""

    model: str
    #: Unix seconds.
    last_used: float
    #: Tokens of the prompt that it had then; 0: not known.
    cached_tokens: int = 0


class Binding(Struct, frozen=True, omit_defaults=True):
    """A conversation and its model."""

    model_name: str
    #: The route that led to it; None: none matched.
    route_name: str | None
    #: Unix seconds of its latest answer.
    last_used: float = 0.0
    #: The model that it would have stayed on without any switch.
    default_model: str = ""
    #: What its prompts would have cost at that model, from the cache, in USD.
    baseline_usd: float = 0.0
    #: What has been spent on caches that were left, in USD.
    switch_spend_usd: float = 0.0
    switches: int = 0
    #: The latest last.
    visits: tuple[Visit, ...] = ()

    def visit(self, model: str) -> Visit | None:
        """When ``model`` answered last, if that is remembered."""
        return next((visit for visit in self.visits if visit.model == model), None)


_ENCODER = Encoder()
_DECODER = Decoder(Binding)


def encode(binding: Binding) -> bytes:
    """A binding as JSON."""
    return _ENCODER.encode(binding)


def decode(data: bytes) -> Binding | None:
    """The binding in ``data``; None when there is none that makes sense."""
    try:
        binding = _DECODER.decode(data)
    except DecodeError:  # msgspec's ValidationError is one, too
        return None
    amounts = (binding.last_used, binding.baseline_usd, binding.switch_spend_usd)
    return binding if binding.model_name and all(map(math.isfinite, amounts)) else None


def visited(visits: tuple[Visit, ...], latest: Visit) -> tuple[Visit, ...]:
    """``visits`` with the latest one, each model once, the oldest dropped when there are too many."""
    return (*(visit for visit in visits if visit.model != latest.model), latest)[-MOST_VISITS:]
