"""The whole of ``conf.yaml`` as JSON Schema (2020-12), for editors and for the generated tables.

It describes the file as it is best written. The reader is a little more generous: it ignores the case of keys outside
``config`` blocks and of retry policies, and takes numbers that are written as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, get_args

import msgspec
from msgspec import Struct

from pixiu_py.config.model import Cluster, Config, Listener
from pixiu_py.config.shapes import is_struct
from pixiu_py.config.types import Empty, KindRef, PluginRef, Secret
from pixiu_py.registry import Entry, Family, Registry

Schema = dict[str, Any]

_DURATION = r"^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$|^0$"
_SIZE = r"^\d+\s*([KMGkmg][Ii]?[Bb]|[Bb])?$"
_REFERENCE = {"description": "A reference to the environment.", "type": "string", "pattern": r"\$\{"}
_REFERENCE_NAME = "FromEnvironment"
#: Keys that name a kind without a config block of their own.
_KIND_KEYS: tuple[tuple[type[Struct], str, Family], ...] = (
    (Cluster, "type", Family.CLUSTER),
    (Cluster, "lb_policy", Family.LOAD_BALANCER),
    (Listener, "protocol_type", Family.LISTENER),
)


def json_schema(registry: Registry) -> Schema:
    """The schema of a file that uses the plugins of ``registry``."""
    configs = [_config_of(entry) for entry in registry]
    classes = list(_structs([Config, *configs]))
    references, parts = msgspec.json.schema_components(classes, schema_hook=_custom, ref_template="#/$defs/{name}")
    names = {cls: ref["$ref"].removeprefix("#/$defs/") for cls, ref in zip(classes, references, strict=True)}
    for cls, key, family in _KIND_KEYS:
        parts[names[cls]]["properties"][key]["enum"] = _spellings(registry, family)
    defs = {name: _as_written(part) for name, part in parts.items()}
    for cls, name in names.items():
        _add_aliases(cls, defs[name])
        if issubclass(cls, PluginRef):
            entries = [entry for entry in registry if entry.family is cls.family]
            kinds = [(entry, names[_config_of(entry)]) for entry in entries]
            (_add_flat_kinds if issubclass(cls, KindRef) else _add_kinds)(defs[name], kinds, defs)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "conf.yaml of pixiu-py",
        "$ref": f"#/$defs/{names[Config]}",
        "$defs": {**defs, _REFERENCE_NAME: _REFERENCE},
    }


def _config_of(entry: Entry) -> type[Struct]:
    config: type[Struct] = getattr(entry.cls, "Config", Empty)
    return config


def _spellings(registry: Registry, family: Family) -> list[str]:
    return [name for entry in registry if entry.family is family for name in (entry.kind, *entry.aliases)]


def _structs(roots: Iterable[Any]) -> Iterator[type[Struct]]:
    """Every struct that can be reached from ``roots``, each once."""
    seen: set[type[Struct]] = set()
    waiting = list(roots)[::-1]
    while waiting:
        kind = waiting.pop()
        waiting.extend(get_args(kind))
        if is_struct(kind) and kind not in seen:
            seen.add(kind)
            waiting.extend(info.type for info in msgspec.structs.fields(kind))
            yield kind


def _custom(kind: type[Any]) -> Schema:
    if kind is Secret:
        return {"type": "string"}
    raise NotImplementedError


# --- values as they are written --------------------------------------------------------------------------------------


def _as_written(schema: Schema) -> Schema:
    """``schema`` with durations and sizes in their notations, and with references to the environment allowed."""
    schema = dict(schema)
    if "properties" in schema:
        schema["properties"] = {name: _as_written(part) for name, part in schema["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            schema[key] = _as_written(schema[key])
    for key in ("anyOf", "prefixItems"):
        if key in schema:
            schema[key] = [_as_written(part) for part in schema[key]]
    notation = schema.pop("x-pixiu", "")
    if schema.get("format") == "decimal":
        kept = {key: value for key, value in schema.items() if key not in ("type", "format")}
        return _allow(kept, [{"type": "number"}, {"type": "string", "format": "decimal"}])
    if notation == "duration":
        default = schema.get("default")
        shown = {"default": _duration(default)} if isinstance(default, float) else {}
        return _allow(schema, [{"type": "string", "pattern": _DURATION}, {"const": 0}]) | shown
    if notation == "size":
        return _allow(schema, [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _SIZE}])
    if schema.get("type") in ("integer", "number", "boolean") or "enum" in schema:
        return _allow(schema, [{key: value for key, value in schema.items() if key not in ("description", "default")}])
    return schema


def _allow(schema: Schema, ways: list[Schema]) -> Schema:
    kept = {key: value for key, value in schema.items() if key in ("description", "default")}
    return {**kept, "anyOf": [*ways, {"$ref": f"#/$defs/{_REFERENCE_NAME}"}]}


def _duration(seconds: float) -> str:
    """Seconds as a Go duration, in the largest unit that gives a whole number."""
    for unit, size in (("h", 3600.0), ("m", 60.0), ("s", 1.0)):
        if seconds >= size and seconds % size == 0:
            return f"{int(seconds / size)}{unit}"
    return f"{seconds * 1000:g}ms" if seconds else "0s"


# --- plugins and older keys ------------------------------------------------------------------------------------------


def _add_aliases(cls: type[Struct], schema: Schema) -> None:
    for alias, name in getattr(cls, "key_aliases", {}).items():
        schema["properties"][alias] = {"description": f"Older spelling of {name}.", "deprecated": True}


def _add_kinds(schema: Schema, kinds: list[tuple[Entry, str]], defs: dict[str, Schema]) -> None:
    """Each kind's own config block, chosen by ``name``."""
    schema["properties"]["name"] = {"enum": [name for entry, _ in kinds for name in (entry.kind, *entry.aliases)]}
    schema["properties"]["config"] = {}
    choices = [
        {
            "if": {"properties": {"name": {"enum": [entry.kind, *entry.aliases]}}, "required": ["name"]},
            "then": {
                "description": entry.summary,
                "properties": {"config": {"$ref": f"#/$defs/{config}"}},
                **({"required": ["config"]} if defs[config].get("required") else {}),
            },
        }
        for entry, config in kinds
    ]
    if choices:  # an empty list is no schema
        schema["allOf"] = choices


def _add_flat_kinds(schema: Schema, kinds: list[tuple[Entry, str]], defs: dict[str, Schema]) -> None:
    """Each kind's own keys beside ``type``, which chooses them."""
    del schema["properties"]["config"]
    schema["properties"]["type"] = {"enum": [name for entry, _ in kinds for name in (entry.kind, *entry.aliases)]}
    schema.pop("additionalProperties", None)
    schema["unevaluatedProperties"] = False
    schema["allOf"] = [
        {
            "if": {"properties": {"type": {"enum": [entry.kind, *entry.aliases]}}, "required": ["type"]},
            "then": {
                "description": entry.summary,
                "properties": defs[config]["properties"],
                **({"required": defs[config]["required"]} if defs[config].get("required") else {}),
            },
        }
        for entry, config in kinds
    ]
