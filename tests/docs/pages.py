"""The documentation as data: pages, sections, tables, blocks of code."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
#: Every page for people.
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def name_of(path: Path) -> str:
    """A page's name, for test ids."""
    return str(path.relative_to(ROOT))


def read(name: str) -> str:
    """The text of a page below ``docs``."""
    return (DOCS / name).read_text("utf-8")


def section(name: str, title: str) -> str:
    """What stands under a heading of the second level."""
    return read(name).split(f"\n## {title}\n")[1].split("\n## ")[0]


def tables(text: str) -> list[list[list[str]]]:
    """The cells of every table, row by row, without head and rule."""
    found = re.findall(r"^\|.*\n\| ---.*\n((?:\|.*\n)+)", text + "\n", re.MULTILINE)
    return [[_cells(line) for line in rows.splitlines()] for rows in found]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def code(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks in a language."""
    return [block for tag, block in _FENCE.findall(text) if tag == language]


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return _FENCE.sub("", text)


def anchors(text: str) -> set[str]:
    """The anchors that headings have on GitHub."""
    titles = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
