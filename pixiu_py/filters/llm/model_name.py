"""The model that a request names. Pure."""

from __future__ import annotations

from typing import Any

#: What is longer is no name of a model. Names are remembered here and there: a client that makes up long ones must not
#: fill the memory with them.
LONGEST = 256


def is_model_name(value: Any) -> bool:
    """Whether a model may be called like this."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST


def named_model(document: Any) -> str:
    """The model in a request's body; empty: it names none."""
    model = document.get("model") if isinstance(document, dict) else None
    return model if isinstance(model, str) and len(model) <= LONGEST else ""


def shortened(name: str) -> str:
    """A name as it is told: whole, unless nobody would call a model like that."""
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}…"
