"""From a tree of values to config models, collecting every problem on the way.

msgspec's own decoder stops at the first problem and knows no positions. This one walks the fields of a struct itself,
and leaves single values, with their constraints, to ``msgspec.convert``. Numbers and booleans may be written as text
(``times: "2"``), as Pixiu allows.
"""

from __future__ import annotations

import types
from typing import Any, NamedTuple, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Meta
from msgspec.structs import FieldInfo

from pixiu_py.config import legacy
from pixiu_py.config.broken import BROKEN, whole
from pixiu_py.config.node import Mapping, Node, Place, Scalar, Sequence, Unreadable, from_outside, from_plain, plain
from pixiu_py.config.report import Report
from pixiu_py.config.scalars import RefusedError, decode_scalar, readable, shown
from pixiu_py.config.shapes import LISTS, UNIONS, annotate, describe, fits, is_struct, shape, unwrap
from pixiu_py.config.types import Empty, KindRef, PluginRef, Secret
from pixiu_py.config.unsupported import UNSUPPORTED
from pixiu_py.registry import Entry, Family, Registry, did_you_mean


class _Given(NamedTuple):
    """A key of a block, and what it holds."""

    node: Node
    place: Place


class Decoder:
    """Decodes one document."""

    def __init__(self, registry: Registry, report: Report) -> None:
        self._registry = registry
        self._report = report
        #: msgspec evaluates the annotations of a struct each time it is asked.
        self._known_fields: dict[type[Any], tuple[FieldInfo, ...]] = {}

    def decode(self, node: Node, kind: Any, path: str) -> Any:
        """The value of ``node`` as ``kind``, or ``BROKEN`` after a problem.

        A struct with a broken field is still made, with ``BROKEN`` in that field, so that rules across blocks can be
        checked as far as possible; one that checks itself (``__post_init__``) is not, if anything in it is broken.
        """
        self._report.seen(path, node.place)
        if isinstance(node, Unreadable):
            return BROKEN
        base, metas = unwrap(kind)
        if base is Any or base is object:
            return plain(node)
        origin = get_origin(base) or base
        if origin in UNIONS:
            return self._union(node, base, metas, path)
        if is_struct(origin):
            return (
                self._plugin(node, origin, path) if issubclass(origin, PluginRef) else self._struct(node, origin, path)
            )
        if origin in LISTS:
            return self._list(node, base, metas, path)
        if origin is dict:
            return self._dict(node, base, metas, path)
        if not isinstance(node, Scalar):
            return self._mismatch(node, base, path)
        return self._scalar(node, base, metas, path)

    def _fields(self, cls: type[Any]) -> tuple[FieldInfo, ...]:
        found = self._known_fields.get(cls)
        if found is None:
            found = self._known_fields[cls] = msgspec.structs.fields(cls)
        return found

    # --- structs -----------------------------------------------------------------------------------------------------

    def _struct(self, node: Node, cls: type[Any], path: str) -> Any:
        if not isinstance(node, Mapping):
            return self._mismatch(node, cls, path)
        given = self._keys(node, cls, path)
        values = {info.name: self._field(given, info, node, path) for info in self._fields(cls)}
        return self._make(cls, values, node, path)

    def _field(self, given: dict[str, _Given], info: FieldInfo, block: Node, path: str) -> Any:
        below = _join(path, info.encode_name)
        entry = given.get(info.encode_name)
        if entry is not None and not (_is_null(entry.node) and shape(info.type) in (Mapping, Sequence)):
            return self.decode(entry.node, info.type, below)
        # A block whose every key has been commented out reads as null; that is as good as leaving it away.
        if info.required:
            place = entry.place if entry else block.place
            self._report.problem(below, "This key is required", place)
            return BROKEN
        default = info.default if info.default is not NODEFAULT else info.default_factory()
        return self._default(default, block.place, below)

    def _default(self, default: Any, place: Place, path: str) -> Any:
        """A default as it is, save that a reference to a plugin gets that plugin's decoded config."""
        if not isinstance(default, PluginRef):
            return default
        written = {"name": default.name, "config": default.config}
        if isinstance(default, KindRef):
            written = {"type": default.name, **default.config}
        node = from_plain(written, place)
        return self._plugin(node, type(default), path)

    def _make(self, cls: type[Any], values: dict[str, Any], node: Mapping, path: str) -> Any:
        checks_itself = hasattr(cls, "__post_init__")
        if checks_itself and not all(map(whole, values.values())):
            return BROKEN
        try:
            return cls(**values)
        except Exception as error:  # noqa: BLE001 - a plugin's check may raise what it likes; its user must hear where
            message = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            for scalar in from_outside(node):
                message = message.replace(scalar.text, f"(the value from {scalar.source})")
            self._report.problem(path, message, node.place)
            return BROKEN

    def _keys(self, node: Mapping, cls: type[Any], path: str) -> dict[str, _Given]:
        """The known keys of a block by their proper names; the others become problems."""
        fold = str.lower if getattr(cls, "case_insensitive", False) else str
        known = {fold(info.encode_name): info.encode_name for info in self._fields(cls)}
        aliases = {fold(alias): name for alias, name in getattr(cls, "key_aliases", {}).items()}
        refused = {fold(key): reason for key, reason in getattr(cls, "refused_keys", {}).items()}
        given: dict[str, _Given] = {}
        for key, child in node.items.items():
            place = node.keys[key]
            name = known.get(fold(key)) or aliases.get(fold(key))
            if name is None:
                reason = refused.get(fold(key)) or "Unknown key" + did_you_mean(key, list(known.values()))
                self._report.problem(_join(path, key), reason, place)
                continue
            if name in given:
                line = given[name].place[0]
                self._report.problem(_join(path, key), f"{name!r} is already given on line {line}", place)
                continue
            if fold(key) not in known:
                child = self._renamed(cls, key, name, child, path, place)
            given[name] = _Given(child, place)
        return given

    def _renamed(self, cls: type[Any], key: str, name: str, child: Node, path: str, place: Place) -> Node:
        self._report.warning(_join(path, key), f"{key!r} is an older spelling of {name!r}", place)
        upgrade = legacy.UPGRADES.get((cls, key.lower()))
        return upgrade(child, self._report, _join(path, key)) if upgrade else child

    # --- plugins -----------------------------------------------------------------------------------------------------

    def _plugin(self, node: Node, cls: type[PluginRef], path: str) -> Any:
        if not isinstance(node, Mapping):
            return self._mismatch(node, cls, path)
        flat = issubclass(cls, KindRef)
        fields = self._fields(cls)
        given = self._keys(_unfolded(node, {info.encode_name for info in fields}) if flat else node, cls, path)
        values = {info.name: self._field(given, info, node, path) for info in fields if info.name != "config"}
        entry = self._find(cls.family, values["name"], _join(path, "type" if flat else "name"))
        if entry is None:
            return self._make(cls, {**values, "config": BROKEN}, node, path)
        values["name"] = entry.kind
        config = given["config"].node if "config" in given else Mapping(node.place)
        if _is_null(config):
            config = Mapping(config.place)
        below = path if flat else _join(path, "config")
        values["config"] = self.decode(config, getattr(entry.cls, "Config", Empty), below)
        return self._make(cls, values, node, path)

    def _find(self, family: Family, name: Any, path: str) -> Entry | None:
        if name is BROKEN:
            return None
        entry = self._registry.find(family, name)
        if entry is None and family is Family.RETRY_POLICY:  # Pixiu ignores their case
            folded = {kind.lower(): kind for kind in self._registry.kinds(family)}
            entry = self._registry.find(family, folded.get(name.lower(), name))
        if entry is None:
            unknown = f"Unknown {family.value} {name!r}{self._registry.suggest(family, name)}"
            self._report.problem(path, UNSUPPORTED.get((family, name), unknown))
        elif self._registry.is_alias(family, name):
            self._report.warning(path, f"{name!r} is an older spelling of {entry.kind!r}")
        return entry

    # --- containers --------------------------------------------------------------------------------------------------

    def _list(self, node: Node, kind: Any, metas: list[Meta], path: str) -> Any:
        if not isinstance(node, Sequence):
            return self._mismatch(node, kind, path)
        origin = get_origin(kind) or kind
        kinds = list(get_args(kind)) or [Any]
        if origin is tuple and kinds[-1] is not Ellipsis:
            metas = [*metas, Meta(min_length=len(kinds), max_length=len(kinds))]
        else:
            kinds = [kinds[0]] * len(node.items)
        if not self._length_fits(node.items, metas, path, node.place):
            return BROKEN
        items = [
            self.decode(item, item_kind, f"{path}[{index}]")
            for index, (item, item_kind) in enumerate(zip(node.items, kinds, strict=True))
        ]
        return items if origin is list else origin(items)

    def _dict(self, node: Node, kind: Any, metas: list[Meta], path: str) -> Any:
        if not isinstance(node, Mapping):
            return self._mismatch(node, kind, path)
        if not self._length_fits(node.items, metas, path, node.place):
            return BROKEN
        key_kind, value_kind = get_args(kind) or (str, Any)
        values = {}
        for key, child in node.items.items():
            below = _join(path, key)
            name = self._scalar(Scalar(node.keys[key], key, key), *unwrap(key_kind), below)
            values[name] = self.decode(child, value_kind, below)
        return values

    def _length_fits(self, items: Any, metas: list[Meta], path: str, place: Place) -> bool:
        if not metas:
            return True
        try:
            msgspec.convert(items, annotate(type(items), metas))
        except msgspec.ValidationError as error:
            self._refuse(path, f"{readable(error)}, got {len(items)}", place)
            return False
        return True

    # --- unions ------------------------------------------------------------------------------------------------------

    def _union(self, node: Node, kind: Any, metas: list[Meta], path: str) -> Any:
        """The first arm that fits. When none does, the problems of the arm that came closest."""
        arms = get_args(kind)
        if types.NoneType in arms and _is_none(node, arms):
            return None
        fitting = [annotate(arm, metas) for arm in arms if arm is not types.NoneType and fits(node, arm)]
        if not fitting:
            return self._mismatch(node, kind, path)
        if isinstance(node, Scalar) and isinstance(node.value, str):
            fitting.sort(key=_is_text, reverse=True)  # a quoted number is text where text may be
        if len(fitting) == 1:
            return self.decode(node, fitting[0], path)
        trials = [self._try(node, arm, path) for arm in fitting]
        report, value = min(trials, key=lambda trial: len(trial[0].problems))
        self._report.absorb(report)
        return value

    def _try(self, node: Node, kind: Any, path: str) -> tuple[Report, Any]:
        report = self._report.trial()
        decoder = Decoder(self._registry, report)
        decoder._known_fields = self._known_fields
        return report, decoder.decode(node, kind, path)

    # --- problems ----------------------------------------------------------------------------------------------------

    def _scalar(self, node: Scalar, kind: Any, metas: list[Meta], path: str) -> Any:
        try:
            return decode_scalar(node, kind, metas)
        except RefusedError as error:
            return self._refuse(path, str(error), node.place)

    def _mismatch(self, node: Node, kind: Any, path: str) -> Any:
        return self._refuse(path, f"Expected {describe(kind)}, got {shown(node)}", node.place)

    def _refuse(self, path: str, message: str, place: Place) -> Any:
        self._report.problem(path, message, place)
        return BROKEN


def _unfolded(node: Mapping, own: set[str]) -> Mapping:
    """``{type: k, a: …}`` as ``{type: k, config: {a: …}}``; the ``own`` keys of the reference stay where they are."""
    inner = Mapping(node.place)
    outer = Mapping(node.place, {"config": inner}, {"config": node.place})
    for key, child in node.items.items():
        part = outer if key in own and key != "config" else inner
        part.items[key], part.keys[key] = child, node.keys[key]
    return outer


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None and not node.source


def _is_none(node: Node, arms: tuple[Any, ...]) -> bool:
    """Null; also an empty variable, unless text is wanted: then it is an empty text."""
    takes_text = any(unwrap(arm)[0] in (str, Secret) for arm in arms)
    return isinstance(node, Scalar) and node.value is None and not (node.source and takes_text)


def _is_text(kind: Any) -> bool:
    return unwrap(kind)[0] is str


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
