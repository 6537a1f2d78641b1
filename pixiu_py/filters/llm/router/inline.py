"""Routes that a request brings along, in ``routing_preferences`` beside its messages. Pure."""

from __future__ import annotations

from typing import Any

from pixiu_py.filters.llm.model_name import is_model_name
from pixiu_py.filters.llm.router.model import Preference, SelectionPolicy

#: The key in a request body. It is for this gateway and goes no further.
PREFERENCES = "routing_preferences"
#: A request has at most this many routes, and a route this many models and examples.
MOST = 64
#: Characters of all names, descriptions and examples together: deciders read them while everybody else waits.
LONGEST = 32_768
_POLICIES = {
    "none": SelectionPolicy(prefer="none"),
    "cheapest": SelectionPolicy(prefer="cheapest"),
    "fastest": SelectionPolicy(prefer="fastest"),
}


def read_preferences(value: Any) -> list[Preference] | None:
    """The routes in ``value``; None when it cannot be read. An empty list: nothing is to be decided.

    A missing or empty policy means none, as in the configuration; keys that are not known are left alone.
    """
    if not isinstance(value, list) or len(value) > MOST:
        return None
    routes: dict[str, Preference] = {}
    size = 0
    for item in value:
        route = _route(item)
        if route is None or route.name in routes:
            return None
        size += sum(map(len, (route.name, route.description, *route.examples)))
        if size > LONGEST:
            return None
        routes[route.name] = route
    return list(routes.values())


def _route(item: Any) -> Preference | None:
    if not isinstance(item, dict):
        return None
    name, description, models = item.get("name"), item.get("description", ""), item.get("models")
    if not (isinstance(name, str) and name and isinstance(description, str) and _names(models) and models):
        return None
    if not all(map(is_model_name, models)):
        return None
    examples = item.get("examples", [])
    policy = _policy(item.get("selection_policy") or {})
    if policy is None or not _names(examples):
        return None
    return Preference(
        name=name,
        description=description,
        models=models,
        selection_policy=policy,
        examples=examples,
    )


def _policy(value: Any) -> SelectionPolicy | None:
    prefer = value.get("prefer") or "none" if isinstance(value, dict) else None
    return _POLICIES.get(prefer) if isinstance(prefer, str) else None


def _names(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MOST and all(isinstance(name, str) and name for name in value)
