"""Older forms of values that Pixiu once read, brought into today's form."""

from __future__ import annotations

from collections.abc import Callable

from pixiu_py.config.model import LlmMeta
from pixiu_py.config.node import Mapping, Node, Sequence, Unreadable
from pixiu_py.config.report import Report


def _first_api_key(node: Node, report: Report, path: str) -> Node:
    """The first key of ``api_keys: [{name, key}, …]``. A single text is taken as it is."""
    if not isinstance(node, Sequence):
        return node
    first = node.items[0] if node.items else None
    if not isinstance(first, Mapping) or "key" not in first.items:
        report.problem(path, "Expected a list of mappings with name and key", node.place)
        return Unreadable(node.place)
    if len(node.items) > 1:
        report.warning(path, "Only the first key is used; give each further key an endpoint of its own", node.place)
    return first.items["key"]


#: (model, older key in lower case) → what makes today's value of it.
UPGRADES: dict[tuple[type, str], Callable[[Node, Report, str], Node]] = {
    (LlmMeta, "api_keys"): _first_api_key,
}
