"""docs/filters/llm-mock.md: its table is that of the code, and its example is right."""

import re
from pathlib import Path
from typing import get_args

import msgspec

from pixiu_py.config.load import load_text
from pixiu_py.filters.llm.mock.filter import MockConfig
from pixiu_py.plugins import build_registry

PAGE = (Path(__file__).parents[4] / "docs/filters/llm-mock.md").read_text("utf-8")


def test_every_key_is_listed_with_its_description() -> None:
    described = {
        field.name: next(meta.description for meta in reversed(get_args(field.type)) if isinstance(meta, msgspec.Meta))
        for field in msgspec.structs.fields(MockConfig)
    }
    assert dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| (.+) \|$", PAGE, re.MULTILINE)) == described


def test_the_example_is_right() -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert load_text(text, build_registry()).warnings == []
