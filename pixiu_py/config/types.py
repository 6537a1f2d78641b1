"""Value types of the configuration: durations, sizes, secrets, and references to plugins.

A config model is a frozen msgspec struct; these are what its fields may be made of besides the plain types.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from pixiu_py.errors import PluginError
from pixiu_py.registry import Family, Registry

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_SIZES = {"": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "kb": 10**3, "mb": 10**6, "gb": 10**9}
_SIZE = re.compile(r"(\d+)\s*([a-zA-Z]*)")
_GAP = re.compile(r"\s")
_FIELD_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

#: Seconds. Written as a Go duration (``60s``, ``200ms``, ``1h30m``) or as 0.
Duration = Annotated[float, Meta(extra={"pixiu": "duration"}, extra_json_schema={"x-pixiu": "duration"})]
#: Bytes. Written as a number, or with a unit (``64KiB``, ``10MB``).
Size = Annotated[int, Meta(extra={"pixiu": "size"}, extra_json_schema={"x-pixiu": "size"})]


def doc(text: str) -> Meta:
    """The one-line description of a config key, for the schema and the generated tables."""
    return Meta(description=text)


def parse_duration(value: Any) -> float:
    """Seconds of a Go duration string. A bare number has no unit, so only 0 is one. Raises ``ValueError``."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == 0:
        return 0.0
    if isinstance(value, str):
        if value.strip() == "0":
            return 0.0
        parts = _PART.findall(value)
        if parts and "".join(number + unit for number, unit in parts) == value.strip():
            return float(sum(float(number) * _UNITS[unit] for number, unit in parts))
    raise ValueError(f"Expected a duration such as 500ms, 20s or 1h30m, got {value!r}")


def parse_size(value: Any) -> int:
    """Bytes of a size such as 1048576, ``64KiB`` or ``10MB``. Raises ``ValueError`` for anything else."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        if match and match[2].lower() in _SIZES:
            return int(match[1]) * _SIZES[match[2].lower()]
    raise ValueError(f"Expected a size such as 1048576, 64KiB or 10MB, got {value!r}")


def is_field_name(name: str) -> bool:
    """Whether a header field may be called so (RFC 9110 §5.6.2)."""
    return _FIELD_NAME.fullmatch(name) is not None


def check_url(key: str, url: str, secret: Secret | None = None) -> None:
    """Raise ``ValueError`` when what is under ``key`` is no HTTP URL, or has a user although a ``secret`` goes along."""
    problem = f"{key}: Expected a URL that begins with http:// or https://"
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port
        _ = host.isascii() or host.encode("idna")
    except ValueError:  # a port or a name that cannot be
        raise ValueError(problem) from None
    if parts.scheme not in ("http", "https") or not host or _GAP.search(parts.netloc) or port == 0:
        raise ValueError(problem)
    if secret and parts.username is not None:
        raise ValueError(f"{key}: A user in the URL and a key are two credentials; one is sent")


class Secret:
    """A credential. Shows as ``***`` wherever it is printed; ``reveal()`` gives the text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one place that sends it."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__


class Model(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every config model. ``case_insensitive`` is how Pixiu reads the keys of its outer blocks."""

    case_insensitive: ClassVar[bool] = False
    #: Older spellings of keys: alias → field name. Accepted, with a warning.
    key_aliases: ClassVar[dict[str, str]] = {}
    #: Keys that Pixiu knows and we do not speak: key → why.
    refused_keys: ClassVar[dict[str, str]] = {}


class PluginRef(Model, frozen=True):
    """A kind and its config block, ``{name: …, config: {…}}``. The reader fills ``config`` with the decoded model."""

    family: ClassVar[Family]
    name: Annotated[str, doc("Its kind.")]
    config: Annotated[Any, doc("Its own block.")] = msgspec.field(default_factory=dict)

    def make(self, registry: Registry) -> Any:
        """The plugin, not yet started, for a family whose plugins need their config alone. Raises ``PluginError``."""
        entry = registry.find(self.family, self.name)
        if entry is None:
            raise PluginError(f"no {self.family.value} is named {self.name!r}")
        return entry.cls(self.config)


class HttpFilterRef(PluginRef, frozen=True):
    """An HTTP filter in a chain."""

    family: ClassVar[Family] = Family.HTTP_FILTER


class NetworkFilterRef(PluginRef, frozen=True):
    """A network filter of a listener."""

    family: ClassVar[Family] = Family.NETWORK_FILTER


class RetryPolicyRef(PluginRef, frozen=True):
    """The retry policy of an endpoint."""

    family: ClassVar[Family] = Family.RETRY_POLICY


class KindRef(PluginRef, frozen=True):
    """A kind and its keys in one block, ``{type: sqlite, path: …}``; read like any other reference to a plugin."""

    name: Annotated[str, doc("Its kind.")] = msgspec.field(name="type")


class Empty(Model, frozen=True):
    """The config of a plugin that has no keys."""
