"""No two files of the package import each other, by whatever way round."""

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
    """The files that a file imports, at its top or in its functions; not for types only."""
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


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """The sets of files that lead to each other."""
    reached = {name: set(targets) for name, targets in arrows.items()}
    for middle in arrows:
        for targets in reached.values():
            if middle in targets:
                targets |= reached[middle]
    found = []
    for name, targets in reached.items():
        if name in targets:
            found.append({other for other in targets if name in reached[other]})
    return found


def test_no_circle_of_files() -> None:
    arrows = {name: imported(path) for name, path in FILES.items()}
    # A package's own file may list what its files hold; they do not look back at it.
    assert arrows["cpm_lm.model"]
    assert circles(arrows) == []


def test_a_circle_would_be_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == [{"b", "c"}, {"b", "c"}]
