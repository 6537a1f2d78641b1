"""The house rules on sizes and places, checked."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "pixiu_py"
UNIT = ROOT / "tests" / "unit"

FILE_LINES = 400
FUNCTION_LINES = 60
NESTING = 4
#: A test nests its connections, gateways and endpoints, which is no harder to read for being deep.
TEST_NESTING = 6

#: Source files without a test file of their own → why.
TESTED_ELSEWHERE = {
    "__main__.py": "one call of cli.main; tests/integration/test_shutdown.py starts it",
    "adapters/base.py": "a contract without behaviour",
    "clusters/base.py": "a contract without behaviour",
    "stores/base.py": "a contract without behaviour",
    "stores/ledger/base.py": "a contract without behaviour; its one function is tested with each ledger",
    "filters/ai/kvcache/index/base.py": "a contract without behaviour; tests/conformance/test_kv_indexes.py",
    "filters/base.py": "a contract; its one function is tested with the chain that uses it",
    "filters/llm/router/affinity.py": "a contract without behaviour",
    "filters/llm/router/decider.py": "a contract without behaviour",
    "listeners/base.py": "a contract without behaviour",
    "config/model.py": "shapes without behaviour; tested with the reader that fills them",
}

SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
EVERYTHING = [*SOURCES, *sorted((ROOT / "plugins").rglob("*.py")), *sorted((ROOT / "tests").rglob("*.py"))]


def name(path: Path) -> str:
    """Path of a file as a test's id."""
    return str(path.relative_to(ROOT))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a module, methods and inner ones included."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def depth(node: ast.AST) -> int:
    """Deepest nesting of blocks under ``node``; an ``elif`` is no level of its own, nor is an inner function."""
    blocks = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        deepest = max(deepest, depth(child) + (isinstance(child, blocks) and not is_elif))
    return deepest


@pytest.mark.parametrize("path", EVERYTHING, ids=name)
def test_files_and_functions_fit_on_few_screens(path: Path) -> None:
    """A source file has at most 400 lines; a function, of a test too, at most 60 and few levels of nesting."""
    text = path.read_text()
    is_test = path.is_relative_to(ROOT / "tests")
    assert is_test or len(text.splitlines()) <= FILE_LINES
    for function in functions(ast.parse(text)):
        lines = (function.end_lineno or 0) - function.lineno + 1
        assert lines <= FUNCTION_LINES, f"{function.name} has {lines} lines"
        assert depth(function) <= (TEST_NESTING if is_test else NESTING), f"{function.name} is nested too deeply"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_source_file_has_a_test_file(path: Path) -> None:
    """``pixiu_py/a/b.py`` is tested by ``tests/unit/a/test_b.py``, ``…/a/test_…_b.py`` or ``tests/unit/test_a_b.py``."""
    inside = path.relative_to(PACKAGE)
    folder = UNIT / inside.parent
    stem = path.stem.strip("_")
    found = [test for test in folder.glob("test_*.py") if test.stem.endswith(f"_{stem}")]
    found += folder.parent.glob(f"test_{folder.name}_{stem}.py")
    if str(inside) in TESTED_ELSEWHERE:
        assert not found, f"{inside} has its own test now: take it off the list"
    else:
        assert found, f"no test file for {inside} in {folder.relative_to(ROOT)}"


def test_exceptions_are_about_files_that_exist() -> None:
    """A list of exceptions that is not kept up excuses the wrong things one day."""
    assert [path for path in TESTED_ELSEWHERE if not (PACKAGE / path).exists()] == []


def test_test_files_have_different_names() -> None:
    """pytest imports tests by base name here, so that a name may occur once only."""
    names = sorted(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(names) == len(set(names)), [n for n in names if names.count(n) > 1]


def test_depth_counts_blocks_and_not_elifs() -> None:
    """The measure itself: three levels here, in spite of the ``elif`` and of the inner function."""
    source = """
def f(x):
    if x == 1:
        pass
    elif x == 2:
        for _ in x:
            while x:
                pass
    def g():
        with x:
            pass
"""
    assert depth(next(functions(ast.parse(source)))) == 3
