"""Who may import what: the laws that keep decisions pure and stages apart (ARCHITECTURE.md)."""

from __future__ import annotations

import ast
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "pixiu_py"
SOURCES = sorted(PACKAGE.rglob("*.py"))

#: Modules that decide: no loop, no sockets; time and randomness are arguments.
DECISIONS = (
    "clusters/agreement.py",
    "clusters/cooldown.py",
    "clusters/endpoint.py",
    "clusters/balancers/*.py",
    "config/*.py",
    "errors.py",
    "http/head_lines.py",
    "http/headers.py",
    "http/received.py",
    "http/sse.py",
    "registry.py",
    "routing/*.py",
    "upstream/retry.py",
    "filters/llm/router/answer.py",
    "filters/llm/router/conversation.py",
    "filters/llm/router/figures.py",
    "filters/llm/router/inline.py",
    "filters/llm/router/latency.py",
    "filters/llm/router/prices.py",
    "filters/llm/router/prompt.py",
    "filters/llm/router/rank.py",
    "http/json_spans.py",
    "filters/llm/promptcache/blocks.py",
    "filters/llm/canonical.py",
    "filters/llm/promptcache/markers.py",
    "filters/llm/promptcache/outgoing.py",
    "filters/llm/promptcache/prefixes.py",
    "filters/llm/promptcache/usage.py",
    "stores/ledger/cost.py",
    "stores/ledger/tariff.py",
    "stores/promptcache/base.py",
)

#: Where aiohttp may be imported → why.
AIOHTTP = {
    "listeners/*.py": "the server side of the sockets",
    "http/*.py": "its parser and writer are the edge of a request",
    "upstream/*.py": "its response parser is the edge of an attempt",
}

#: Drivers → the only places that may import them.
DRIVERS = {"redis": ("stores/*redis*.py",), "asyncpg": ("stores/*postgres*.py",), "sqlite3": ("stores/*sqlite*.py",)}

#: What puts the stages together: no stage knows it.
TOP = ("listeners", "gateway", "workers", "hub", "peers", "cli")
#: The two ends of a request's way through the connection manager.
ENDS = ("http.connection", "http.connection_manager", "http.head_lines", "http.writer", "http.server")
FILTERS = ("filters.http", "filters.llm", "filters.ai")
#: A stage → what it must not know: the stages before it. The reader of the configuration may ask the decisions of later
#: stages (is this match, is this endpoint one that can be used?), not what runs.
NOT_BELOW = {
    "routing": TOP,
    "filters": (*TOP, *ENDS),
    "clusters": (*TOP, *ENDS, *FILTERS),
    "upstream": (*TOP, *ENDS, *FILTERS),
    "stores": (*TOP, "http", "filters", "clusters", "upstream"),
    "config": (*TOP, *FILTERS, "http", "upstream", "clusters.manager", "clusters.cluster", "clusters.health"),
}


def name(path: Path) -> str:
    """Path of a module as a test's id."""
    return str(path.relative_to(PACKAGE))


def dotted(path: Path) -> str:
    """Name under which a module is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    """Dotted names that a module imports when it runs; imports for the type checker only do not count."""
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        pending.extend(ast.iter_child_nodes(node))
    return found


def uses(path: Path, package: str) -> bool:
    """True when a module imports ``package`` or something in it."""
    return any(found == package or found.startswith(package + ".") for found in imports(path))


def matches(path: Path, patterns: tuple[str, ...] | list[str]) -> bool:
    """True when the module's place is one of ``patterns``."""
    return any(fnmatch(name(path), pattern) for pattern in patterns)


@pytest.mark.parametrize("path", [path for path in SOURCES if matches(path, DECISIONS)], ids=name)
def test_decision_modules_do_no_io(path: Path) -> None:
    """What decides can be tested by calling it: it imports neither asyncio nor aiohttp, nor a clock, nor a socket."""
    for package in ("asyncio", "aiohttp", "socket", "time"):
        assert not uses(path, package), f"{name(path)} imports {package}"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_libraries_stay_in_their_places(path: Path) -> None:
    """aiohttp is imported at the edges only, a database driver in its store only."""
    if not matches(path, list(AIOHTTP)):
        assert not uses(path, "aiohttp"), f"{name(path)} imports aiohttp"
    for driver, places in DRIVERS.items():
        if not matches(path, places):
            assert not uses(path, driver), f"{name(path)} imports {driver}"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_tasks_are_created_in_one_place(path: Path) -> None:
    """Every task has an owner and a name: only tasks.py creates them."""
    if name(path) == "tasks.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("create_task", "ensure_future"), f"{name(path)}:{node.lineno}"


@pytest.mark.parametrize("stage", sorted(NOT_BELOW))
def test_stages_do_not_know_the_stages_before_them(stage: str) -> None:
    """A stage imports the contracts of later stages, never of earlier ones."""
    for path in SOURCES:
        if path.is_relative_to(PACKAGE / stage):
            for forbidden in NOT_BELOW[stage]:
                assert not uses(path, f"pixiu_py.{forbidden}"), f"{name(path)} imports {forbidden}"


def test_filters_do_not_import_each_other() -> None:
    """A filter is a plugin: what two of them share lies in a module that is none."""
    modules = {dotted(path): path for path in SOURCES if path.is_relative_to(PACKAGE / "filters")}
    plugins = {module for module, path in modules.items() if "\n@plugin(" in path.read_text()}
    for module, path in modules.items():
        for other in plugins - {module}:
            assert not uses(path, other) or same_folder(path, modules[other]), f"{module} imports {other}"


def same_folder(path: Path, other: Path) -> bool:
    """True for two parts of one filter that has grown into a folder."""
    return path.parent == other.parent and len(path.relative_to(PACKAGE / "filters").parts) > 2


def test_plugins_import_public_names_only() -> None:
    """A dropped-in filter needs the contracts and nothing else, and no other plugin."""
    public = (
        "pixiu_py.clusters.base",
        "pixiu_py.clusters.endpoint",
        "pixiu_py.config.types",
        "pixiu_py.errors",
        "pixiu_py.filters.base",
        "pixiu_py.filters.llm.router.conversation",
        "pixiu_py.filters.llm.router.decider",
        "pixiu_py.filters.llm.router.model",
        "pixiu_py.http.",
        "pixiu_py.registry",
        "pixiu_py.upstream.retry",
    )
    for path in sorted((ROOT / "plugins").rglob("*.py")):
        for found in imports(path):
            assert not found.startswith("plugins"), f"{path} imports {found}"
            assert not found.startswith("pixiu_py") or found.startswith(public), f"{path} imports {found}"


IMPORT_EACH_ALONE = """
import importlib, os, sys, traceback
import aiohttp, aiodns, msgspec, orjson, structlog, uvloop, yaml
failed = []
for name in sys.argv[1:]:
    child = os.fork()
    if not child:
        try:
            importlib.import_module(name)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        failed.append(name)
sys.exit(f"cannot be imported first: {failed}" if failed else 0)
"""


def test_every_module_can_be_imported_first() -> None:
    """No module depends on another having been imported before it: there are no import cycles."""
    modules = [dotted(path) for path in SOURCES if path.name != "__main__.py"]
    run = subprocess.run([sys.executable, "-c", IMPORT_EACH_ALONE, *modules], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_command_line_starts_light() -> None:
    """``--help`` and a rejected flag need no server: importing the CLI brings neither aiohttp nor uvloop."""
    script = "import sys, pixiu_py.cli; print(*sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert not loaded & {"aiohttp", "uvloop", "aiodns", "yaml", "ssl"}
    assert len(loaded) < 250, f"{len(loaded)} modules are loaded before the first argument is read"
