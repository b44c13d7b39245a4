"""The files of the package have no circular imports."""

from __future__ import annotations

import ast
from pathlib import Path

import cpm_lm

ROOT = Path(cpm_lm.__file__).parent


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(path): path for path in ROOT.rglob("*.py")}


def imported(path: Path) -> set[str]:
    """The files that a file imports, at its top or in functions, but not under TYPE_CHECKING."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & FILES.keys() or {node.module}
    return found & FILES.keys()


def cycles(edges: dict[str, set[str]]) -> list[set[str]]:
    """The sets of files that import each other."""
    reached = {name: set(targets) for name, targets in edges.items()}
    for middle in edges:
        for targets in reached.values():
            if middle in targets:
                targets |= reached[middle]
    found = []
    for name, targets in reached.items():
        if name in targets:
            found.append({other for other in targets if name in reached[other]})
    return found


def test_there_are_no_circular_imports() -> None:
    edges = {name: imported(path) for name, path in FILES.items()}
    # An __init__.py may import from its files; their imports of it do not count.
    assert edges["cpm_lm.model"]
    assert cycles(edges) == []


def test_a_cycle_is_found() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == [{"b", "c"}, {"b", "c"}]
