"""From an engine's ``/metrics`` text to its load. Pure.

Names, newest first: vLLM's ``vllm:…`` (older ones called the cache usage ``gpu_cache_usage_perc``) and llama-server's
``llamacpp:…``, which has no cache usage. An engine with several ranks or models reports one sample each: counts are
added up, of the cache usage the fullest counts.
"""

from __future__ import annotations

import math

from pixiu_py.filters.ai.kvcache.load import Load

_RUNNING = ("vllm:num_requests_running", "llamacpp:requests_processing")
_WAITING = ("vllm:num_requests_waiting", "llamacpp:requests_deferred")
_USAGE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
_WANTED = frozenset(_RUNNING + _WAITING + _USAGE)


def load_of(text: str, now: float) -> Load | None:
    """The load in a Prometheus text; None when no known engine wrote it."""
    found = _samples(text)
    running = _first(found, _RUNNING)
    if running is None:
        return None
    waiting = _first(found, _WAITING) or [0.0]
    usage = _first(found, _USAGE)
    return Load(
        running=int(sum(running)),
        waiting=int(sum(waiting)),
        cache_usage=min(max(usage), 1.0) if usage else None,
        at=now,
    )


def _samples(text: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for line in text.splitlines():
        name = line.partition("{")[0].partition(" ")[0]
        if name in _WANTED:
            value = _value(line)
            if value is not None:
                found.setdefault(name, []).append(value)
    return found


def _value(line: str) -> float | None:
    """The number of a sample; None when it is none that a count can be. Behind it there may be a time."""
    _, brace, rest = line.rpartition("} ")
    fields = (rest if brace else line.partition(" ")[2]).split()
    try:
        value = float(fields[0])
    except (ValueError, IndexError):
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _first(found: dict[str, list[float]], names: tuple[str, ...]) -> list[float] | None:
    return next((found[name] for name in names if name in found), None)
