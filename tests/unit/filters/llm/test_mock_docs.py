"""The config table of docs/filters/llm-mock.md is that of the code."""

import re
from pathlib import Path
from typing import get_args

import msgspec

from pixiu_py.filters.llm.mock.filter import MockConfig

PAGE = (Path(__file__).parents[4] / "docs/filters/llm-mock.md").read_text("utf-8")


def test_every_key_is_listed_with_its_description() -> None:
    described = {
        field.name: next(meta.description for meta in reversed(get_args(field.type)) if isinstance(meta, msgspec.Meta))
        for field in msgspec.structs.fields(MockConfig)
    }
    assert dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| (.+) \|$", PAGE, re.MULTILINE)) == described
