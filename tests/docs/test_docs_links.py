"""Whatever the documentation points at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, PAGES, ROOT, anchors, name_of, prose

PACKAGE = ROOT / "pixiu_py"
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
LINKS = [
    (path, target)
    for path in PAGES
    for target in re.findall(r"\]\(((?!https?:)[^)]+)\)", prose(path.read_text("utf-8")))
]


@pytest.mark.parametrize(("page", "target"), LINKS, ids=[f"{name_of(page)}:{target}" for page, target in LINKS])
def test_a_link_leads_somewhere(page: Path, target: str) -> None:
    """The file exists, and so does the heading."""
    name, _, anchor = target.partition("#")
    file = page.parent / name if name else page
    assert file.exists()
    if anchor:
        assert anchor in anchors(file.read_text("utf-8"))


def test_every_page_is_in_the_index() -> None:
    """docs/README.md leads to all others."""
    linked = {(DOCS / target).resolve() for page, target in LINKS if page == DOCS / "README.md"}
    missing = [name_of(page) for page in PAGES if DOCS in page.parents and page.resolve() not in linked]
    assert missing == ["docs/README.md"]


def test_every_file_that_the_architecture_names_exists() -> None:
    """``a/b.py`` and ``a/b/`` are files and folders of the package, or of the checkout."""
    names = set(re.findall(r"(?<![\w./])((?:\w+/)+(?:\w+\.py)?|\w+\.py)(?!\w)", ARCHITECTURE))
    assert len(names) > 30
    missing = [name for name in sorted(names) if not (PACKAGE / name).exists() and not (ROOT / name).exists()]
    assert missing == []


def test_every_folder_has_its_place_in_the_architecture() -> None:
    """A package is named there, or the one around it is."""
    folders = [file.parent.relative_to(PACKAGE) for file in PACKAGE.rglob("__init__.py") if file.parent != PACKAGE]
    lost = [folder for folder in folders if not any(f"{part}/" in ARCHITECTURE for part in (folder, folder.parent))]
    assert lost == []
