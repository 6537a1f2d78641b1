"""Answers of real engines, recorded once (``tests/data/engines``): vLLM 0.32.0, LMCache 0.5.6, llama-server b1-0c1e570."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

FOLDER = Path(__file__).parents[1] / "data" / "engines"


def text(name: str) -> str:
    """One file as text."""
    return (FOLDER / name).read_text()


def exchanges(name: str) -> dict[str, dict[str, Any]]:
    """The recorded exchanges of one engine by their id: ``method``, ``path``, ``request``, ``response``."""
    records = [expand(orjson.loads(line)) for line in text(f"{name}.jsonl").splitlines()]
    return {record["id"]: record for record in records}


def expand(value: Any) -> Any:
    """Long token lists are written ``{"$range": [first, end]}`` and ``{"$repeat": [token, count]}``."""
    if isinstance(value, list):
        return [expand(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "$range" in value:
        return list(range(*value["$range"]))
    if "$repeat" in value:
        return [value["$repeat"][0]] * value["$repeat"][1]
    return {key: expand(item) for key, item in value.items()}
