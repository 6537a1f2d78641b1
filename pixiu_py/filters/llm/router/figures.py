"""Prices and latencies out of the documents in which others publish them. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from pixiu_py.filters.llm.router.prices import Rates


def read_catalogue(body: bytes, aliases: Mapping[str, str]) -> dict[str, Rates]:
    """The rates in a catalogue of models.dev's shape: ``{provider: {models: {id: {cost: {input, output, cache_read}}}}}``.

    Each is found as ``provider/id`` and as ``id``, where the first provider that has it counts. ``aliases`` gives entries of
    the catalogue other names. One without both prices is left out: what is missing is unknown, not zero. Raises
    ``ValueError`` when there is not a single price in it.
    """
    document = orjson.loads(body)
    if not isinstance(document, dict):
        raise ValueError("the catalogue is no JSON object")
    found: dict[str, Rates] = {}
    bare: dict[str, Rates] = {}
    for name, short, rates in _catalogued(document):
        found[aliases.get(name, name)] = rates
        bare.setdefault(aliases.get(short, short), rates)
    if not found:
        raise ValueError("the catalogue has no prices")
    return {**bare, **found}


def _catalogued(document: dict[str, Any]) -> Iterator[tuple[str, str, Rates]]:
    """Full name, bare name and rates of every entry that has them."""
    for provider, block in document.items():
        models = block.get("models") if isinstance(block, dict) else None
        for name, model in models.items() if isinstance(models, dict) else ():
            cost = model.get("cost") if isinstance(model, dict) else None
            if not isinstance(cost, dict):
                continue
            given, answered = _amount(cost.get("input")), _amount(cost.get("output"))
            if given is not None and answered is not None:
                yield f"{provider}/{name}", name, Rates(given, answered, _amount(cost.get("cache_read")))


def read_vector(body: bytes, aliases: Mapping[str, str]) -> dict[str, float]:
    """The values of an instant vector of Prometheus by their label ``model_name``; of several, the last one.

    Series without that label or without a number are left out. Raises ``ValueError`` when it is no vector.
    """
    document = orjson.loads(body)
    data = document.get("data") if isinstance(document, dict) else None
    series = data.get("result") if isinstance(data, dict) and data.get("resultType") == "vector" else None
    if not isinstance(series, list):
        raise ValueError("the answer is no instant vector")
    found: dict[str, float] = {}
    for one in series:
        if not isinstance(one, dict):
            continue
        labels = one.get("metric")
        name = labels.get("model_name") if isinstance(labels, dict) else None
        value = _sample(one.get("value"))
        if isinstance(name, str) and value is not None:
            found[aliases.get(name, name)] = value
    return found


def _amount(value: Any) -> float | None:
    """A price, or None for what cannot be one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def _sample(value: Any) -> float | None:
    """The number in ``[time, "number"]``."""
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[1], str):
        return None
    try:
        number = float(value[1])
    except ValueError:
        return None
    return number if math.isfinite(number) else None
