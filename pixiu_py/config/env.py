"""Values from outside the file: ``${NAME}``, ``${NAME:-default}`` and ``!file path``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: Largest file that ``!file`` reads, in bytes.
MAX_SECRET_FILE = 65536

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}|\$\{")
_BODY = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


@dataclass(slots=True)
class Expanded:
    """A text with its references replaced."""

    text: str = ""
    #: The references in it, such as ``${KEY}``; empty when there are none.
    source: str = ""
    #: (value, reference) of what came from the environment: never to be shown.
    hidden: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def expand(text: str, environ: Mapping[str, str]) -> Expanded:
    """Replace the references in one scalar.

    As in a shell, ``:-`` gives the value for a name that is unset or empty. ``$${`` stands for a literal ``${``. A
    default is plain text: references in it are refused rather than half understood.
    """
    result = Expanded()

    def replace(match: re.Match[str]) -> str:
        return "${" if match[0] == "$${" else _look_up(match, environ, result)

    result.text = _REFERENCE.sub(replace, text)
    return result


def _look_up(match: re.Match[str], environ: Mapping[str, str], result: Expanded) -> str:
    body = _BODY.fullmatch(match[1] or "")
    if body is None or "${" in match[1]:
        result.problems.append(
            f"Expected ${{NAME}} or ${{NAME:-default}}, got {match[0]!r}; write $${{ for a plain ${{"
        )
        return ""
    name, default = body[1], body[2]
    reference = f"${{{name}}}"
    value = environ.get(name)
    if value is None and default is None:
        result.problems.append(f"The environment variable {name} is not set, and {reference} has no default")
        return ""
    result.source = f"{result.source} {reference}".lstrip()
    if value or default is None:
        result.hidden.append((value or "", reference))
        return value or ""
    return str(default)


def read_secret(path: Path) -> str:
    """The text of a secret file without one newline at its end. Raises ``OSError``, ``ValueError``."""
    with path.open("rb") as file:
        content = file.read(MAX_SECRET_FILE + 1)
    if len(content) > MAX_SECRET_FILE:
        raise ValueError(f"is larger than {MAX_SECRET_FILE} bytes")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
